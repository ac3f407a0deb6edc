import ArgumentParser
import Foundation
import Management
import Resources

/// `carousel man`
struct Man: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Write the manual pages into a folder.",
        discussion: """
            One page for carousel and one for each of its commands, as carousel.1 and carousel-disk.1. man(1) finds \
            them below /usr/local/share/man/man1, and for one user below ~/.local/share/man/man1. It needs no daemon.
            """)

    @Argument(help: "The folder, which is made if need be.", completion: .directory)
    var folder: String

    func run() throws {
        let path = try PathArgument.absolute(folder, "a folder")
        let pages = try ManualPages().pages
        do {
            try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        } catch {
            throw CommandFailure(
                .systemError, "the manual pages cannot be written to \(path): \(SystemReason.text(error))")
        }
        for page in pages { try OutputFile.write(Data(page.text.utf8), to: "\(path)/\(page.name)") }
        let shown = PrintableText.escaped(path)
        Output.print("\(Counted.text(pages.count, "manual page")) in \(shown); try: man \(shown)/carousel.1")
    }
}
