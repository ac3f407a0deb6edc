import ArgumentParser
import Console
import Foundation
import Management
import Platform
import Resources

/// The root command.
struct Carousel: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "carousel",
        abstract: "Virtual tape libraries and disks on iSCSI.",
        discussion: """
            'carousel serve' runs the daemon; the other commands talk to it over a socket in its state folder. They \
            find the folder by --state, else by $CAROUSEL_STATE, else it is /var/lib/carousel for root and \
            ~/.local/state/carousel for others.

            Sizes are \(ByteSize.syntax). A size that is shown can be given back as it is, unless a ~ before it says \
            that it is rounded; --json has the bytes. Elements of a library are written slot:3, drive:1 and mail:1, \
            with numbers from 1.

            Exit codes: 0 done; 1 refused as things stand, and nothing changed unless the sentence says so; 64 the \
            command line makes no sense, a name, number or size in it included; 65 the catalog or a medium is damaged \
            or newer than this program; 69 no daemon answers; 70 a defect of Carousel; 71 the system refused (no \
            space, no permission, a file too large); 74 the daemon ended, but what was written could not all be \
            written out, or standard output could not be written; 75 the state folder or the port is in use; 130 \
            Ctrl-C has ended the command, and the job that it had begun goes on.
            """,
        version: Controller.version,
        subcommands: [Serve.self, Status.self, Top.self, MetricsCommand.self] + KindCommands.all + [
            Export.self, Diff.self, Apply.self, Backup.self, Restore.self, Doctor.self, Profile.self, CheckCommand.self,
            Adopt.self, ConformanceRun.self, Completion.self, Man.self,
            ServiceUnit.self, Licenses.self,
        ])
}

/// The entry point: errors are one sentence on standard error, with the exit code of their kind.
@main
enum Main {
    static func main() async {
        StandardStreams.reserve()
        let words = CommandWords.joiningNegativeNumbers(Array(CommandLine.arguments.dropFirst()))
        let isDaemon = words.first == Serve._commandName
        do {
            if let problem = CommandWords.unknownCommand(words, below: Carousel.self) {
                throw CommandFailure(.usage, problem)
            }
            var command = try await Carousel.asyncParseAsRoot(words)
            if var asynchronous = command as? any AsyncParsableCommand {
                try await asynchronous.run()
            } else {
                try command.run()
            }
            end(with: 0)
        } catch let failure as CommandFailure {
            fail(failure, isDaemon)
        } catch let error as ControlClientError {
            fail(CommandFailure(error), isDaemon)
        } catch let code as ExitCode {
            end(with: code.rawValue)
        } catch {
            let status = Carousel.exitCode(for: error)
            guard !status.isSuccess else {
                // Help, the version, or the script of a completion.
                Output.print(Carousel.fullMessage(for: error))
                end(with: 0)
            }
            let sentence = CommandWords.sentence(
                Carousel.message(for: error), full: Carousel.fullMessage(for: error))
            write("carousel: \(sentence)", isDaemon)
            exit(status.rawValue)
        }
    }

    /// Ends with that status, unless something could not be printed.
    private static func end(with status: Int32) -> Never {
        if let failure = Output.takeFailure() { fail(failure, false) }
        exit(status)
    }

    private static func fail(_ failure: CommandFailure, _ isDaemon: Bool) -> Never {
        write("carousel: \(failure.message)", isDaemon)
        exit(failure.status.rawValue)
    }

    /// Writes a line to standard error. It may quote anything that was typed, so no character of it commands the
    /// terminal. The daemon's goes to its log, and nobody who does not read that keeps it from its end; other commands
    /// wait for their reader, who may look at a page first.
    private static func write(_ line: String, _ isDaemon: Bool) {
        let line = PrintableText.escaped(line) + "\n"
        guard isDaemon else {
            try? FileHandle.standardError.write(contentsOf: Data(line.utf8))
            return
        }
        LogOutput.standardError.write(line)
        LogOutput.standardError.flush()
    }
}
