import ArgumentParser
import Console
import Foundation
import Management
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

            Sizes are bytes or have a unit: 4096, 64KiB, 500MB, 1GiB. Elements of a library are written slot:3, \
            drive:1 and mail:1, with numbers from 1.

            Exit codes: 0 done; 1 refused by the daemon, and nothing changed unless the sentence says so; 64 the \
            command line makes no sense; 65 the catalog or a medium is damaged or newer than this program; 69 no \
            daemon answers; 70 a defect of Carousel; 71 the system refused (no space, no permission); 74 the daemon \
            ended, but what was written could not all be written out; 75 the state folder or the port is in use.
            """,
        version: Controller.version,
        subcommands: [Serve.self, Status.self] + KindCommands.all + [
            Profile.self, CheckCommand.self, Adopt.self,
            ConformanceRun.self,
        ])
}

/// The entry point: errors are one sentence on standard error, with the exit code of their kind.
@main
enum Main {
    static func main() async {
        do {
            var command = try await Carousel.asyncParseAsRoot()
            if var asynchronous = command as? any AsyncParsableCommand {
                try await asynchronous.run()
            } else {
                try command.run()
            }
        } catch let failure as CommandFailure {
            fail(failure)
        } catch let error as ControlClientError {
            fail(CommandFailure(error))
        } catch {
            let status = Carousel.exitCode(for: error)
            guard !status.isSuccess else { Carousel.exit(withError: error) }
            // It quotes the words of the command line too.
            let message = Carousel.fullMessage(for: error)
            if !message.isEmpty { write(message.split(separator: "\n", omittingEmptySubsequences: false)) }
            exit(status.rawValue)
        }
    }

    private static func fail(_ failure: CommandFailure) -> Never {
        write(["carousel: \(failure.message)"])
        exit(failure.status.rawValue)
    }

    /// Writes lines to standard error. They may quote anything that was typed, so no character of theirs commands the
    /// terminal.
    private static func write(_ lines: [Substring]) {
        let text = lines.map { PrintableText.escaped(String($0)) + "\n" }.joined()
        try? FileHandle.standardError.write(contentsOf: Data(text.utf8))
    }
}
