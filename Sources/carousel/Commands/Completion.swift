import ArgumentParser
import Foundation
import Glibc
import Management

/// `carousel completion …`
struct Completion: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Complete the command line in bash, zsh or fish.",
        discussion: "It needs no daemon.",
        subcommands: [Install.self, Print.self])

    /// A shell whose completion is known.
    enum Shell: String, CaseIterable, ExpressibleByArgument {
        case bash, zsh, fish

        fileprivate var script: String {
            switch self {
            case .bash: Carousel.completionScript(for: .bash)
            case .zsh: Carousel.completionScript(for: .zsh)
            case .fish: Carousel.completionScript(for: .fish)
            }
        }

        /// The name of the file that the shell looks for.
        fileprivate var fileName: String {
            switch self {
            case .bash: "carousel"
            case .zsh: "_carousel"
            case .fish: "carousel.fish"
            }
        }

        /// The folder where it looks: of the whole system for root, else of the user.
        func folder(isRoot: Bool, home: String, environment: [String: String]) -> String {
            let data = Self.path("XDG_DATA_HOME", environment) ?? home + "/.local/share"
            let settings = Self.path("XDG_CONFIG_HOME", environment) ?? home + "/.config"
            return switch self {
            case .bash: (isRoot ? "/usr/local/share" : data) + "/bash-completion/completions"
            case .zsh: (isRoot ? "/usr/local/share" : data) + "/zsh/site-functions"
            case .fish: isRoot ? "/usr/local/share/fish/vendor_completions.d" : settings + "/fish/completions"
            }
        }

        /// What is left to do in that folder; nil when nothing is.
        fileprivate func advice(folder: String, isRoot: Bool) -> String? {
            guard self == .zsh, !isRoot else { return nil }
            return "if zsh does not look there yet, put 'fpath=(\(folder) $fpath)' before compinit in ~/.zshrc"
        }

        private static func path(_ name: String, _ environment: [String: String]) -> String? {
            environment[name].flatMap { $0.hasPrefix("/") ? $0 : nil }
        }
    }

    struct Print: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Print what a shell has to read.")

        @Argument(help: "bash, zsh or fish.")
        var shell: Shell

        func run() { Output.print(shell.script) }
    }

    struct Install: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Put the completion where a shell finds it.",
            discussion: """
                For root that is a folder below /usr/local/share, else one of the user. The next shell completes; bash \
                needs the package bash-completion for that.
                """)

        @Argument(help: "bash, zsh or fish; the shell of the user when not given.")
        var shell: Shell?
        @Option(help: ArgumentHelp("Use this folder instead.", valueName: "folder"), completion: .directory)
        var folder: String?

        func run() throws {
            let environment = ProcessInfo.processInfo.environment
            guard let shell = shell ?? Self.shell(environment) else {
                throw CommandFailure(.usage, "which shell? name it: carousel completion install bash, zsh or fish")
            }
            let isRoot = geteuid() == 0
            let path =
                try folder.map { try PathArgument.absolute($0, "a folder") }
                ?? shell.folder(isRoot: isRoot, home: NSHomeDirectory(), environment: environment)
            let file = "\(path)/\(shell.fileName)"
            do {
                try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
            } catch {
                throw CommandFailure(.systemError, "\(file) cannot be written: \(SystemReason.text(error))")
            }
            try OutputFile.write(Data((shell.script + "\n").utf8), to: file)
            let advice = folder == nil ? shell.advice(folder: path, isRoot: isRoot) : nil
            Output.print("\(file) is there; the next \(shell.rawValue) completes" + (advice.map { "; " + $0 } ?? ""))
        }

        private static func shell(_ environment: [String: String]) -> Shell? {
            environment["SHELL"]?.split(separator: "/").last.flatMap { Shell(rawValue: String($0)) }
        }
    }
}
