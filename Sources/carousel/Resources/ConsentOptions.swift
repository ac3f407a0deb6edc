import ArgumentParser
import Foundation
import Glibc
import Resources

/// Whether a command only says what it would do.
struct DryRunOption: ParsableArguments {
    @Flag(
        name: .customLong("dry-run"), help: "Have the daemon check everything, say what would be done, and do nothing.")
    var isAsked = false
}

/// Whether a command may take media, or what is on them, away.
struct ConsentOptions: ParsableArguments {
    @Flag(help: "Do not ask before something is lost for good.")
    var yes = false

    /// Asks at a terminal before `deed` is done.
    ///
    /// - Throws: `CommandFailure` where the answer is no, or where nobody can be asked and `--yes` is missing.
    func require(for deed: String) throws {
        if yes { return }
        guard isatty(STDIN_FILENO) == 1 else {
            throw CommandFailure(
                .usage, "to \(deed) cannot be taken back: say --yes to do it, or --dry-run to see what it would do")
        }
        try? FileHandle.standardError.write(contentsOf: Data("\(PrintableText.escaped(deed))? [y/N] ".utf8))
        guard ["y", "yes"].contains(readLine()?.lowercased() ?? "") else {
            throw CommandFailure(.refused, "nothing was done")
        }
    }
}

/// Whether a command may let somebody see more than before.
protocol WideningSource {
    static var mayWiden: Bool { get }
}

/// `--open`, for those commands only that may let somebody see more than before.
struct WideningOption<Source: WideningSource>: ParsableArguments, CustomReflectable {
    /// Whether that is meant.
    private(set) var isAsked = false

    init() {}

    var customMirror: Mirror {
        guard Source.mayWiden else { return Mirror(self, children: []) }
        let flag = Flag<Bool>(wrappedValue: false, help: "Let somebody see more than before.")
        return Mirror(self, children: [(label: "open", value: flag)])
    }

    private enum CodingKeys: CodingKey { case open }

    init(from decoder: any Decoder) throws {
        guard Source.mayWiden else { return }
        let container = try decoder.container(keyedBy: CodingKeys.self)
        isAsked = try container.decode(Flag<Bool>.self, forKey: .open).wrappedValue
    }
}
