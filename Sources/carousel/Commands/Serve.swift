import ArgumentParser
import Bytes
import Console
import Foundation
import Glibc
import Logging
import Management
import Platform
import Resources

/// `carousel serve`
struct Serve: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Run the daemon in the foreground.",
        discussion: """
            The daemon serves what is in the state folder until SIGTERM or SIGINT: then it takes no new logins, asks \
            initiators to log out, writes everything to its media and ends with exit code 0, or with 74 when a medium \
            could not be written out, which the log names.

            It listens on the portals given here and on those of the last time, or on 127.0.0.1:3260, which only this \
            machine reaches, when there are none. It remembers all of them: 'carousel portal delete' makes it forget \
            one, 'carousel portal create' adds one while it runs.

            A new target lets in who reaches it through a loopback address of this machine, whatever the portal. A \
            group of initiators that is mapped to it lets others in: see 'carousel group', 'carousel target map' and \
            'carousel target access', and 'carousel chap' for passwords. Neither encrypts what is on the wire.
            """)

    @OptionGroup var state: StateOptions

    @Option(
        name: .customLong("portal"),
        help: ArgumentHelp("Listen on this address and port; may be given several times.", valueName: "addr:port"))
    var portals: [String] = []

    @Flag(help: "Fill an empty state folder with a tape library 'vtl' and a disk 'disk0'.")
    var demo = false

    @Flag(help: "Refuse to start when a disk or a library cannot be served, instead of serving everything else.")
    var strict = false

    @Option(
        name: .customLong("profiles"),
        help: ArgumentHelp(
            "A folder with more profiles of drives and libraries; see 'carousel profile'.", valueName: "folder"),
        completion: .directory)
    var profileFolder: String?

    @Option(
        help: ArgumentHelp(
            "Keep at most this much of the disks' hot data locked in memory, where reading is quickest.",
            discussion: "An eighth of the machine's memory when not given; 0 keeps nothing.", valueName: "size"))
    var keptMemory: String?

    @Option(
        help: ArgumentHelp(
            "What the memory for data on its way is made of: standard, transparent or reserved pages.",
            discussion: """
                Transparent: huge pages where the kernel finds some. Reserved: huge pages of 2 MiB of \
                vm.nr_hugepages, which the daemon takes when it starts, up to 256 a processor, and keeps. Where the \
                kernel refuses, the daemon takes transparent instead of reserved ones, and standard instead of these, \
                and says so in its log. Standard when not given.
                """, valueName: "pages"),
        completion: .list(PageChoice.allCases.map(\.rawValue)))
    var bufferPages: String = PageChoice.standard.rawValue

    @Option(help: ArgumentHelp("How much to log: debug, info, warning or error.", valueName: "level"))
    var logLevel: String = "info"

    func run() async throws {
        let portals = try portals.map { text in
            try parsing { () throws(ManagementError) in try PortalAddress.parse(text) }
        }
        let keptMemory = try keptMemory.map { text in
            text == "0" ? 0 : try parsing { () throws(ManagementError) in try ByteSize.parse(text) }
        }
        guard let bufferPages = PageChoice(rawValue: bufferPages) else {
            throw CommandFailure(
                .usage, "'\(bufferPages)' are no pages for buffers; use standard, transparent or reserved")
        }
        guard let level = Logger.Level(rawValue: logLevel) else {
            throw CommandFailure(.usage, "'\(logLevel)' is no log level; use debug, info, warning or error")
        }
        if let profileFolder, (try? FileStatus.of(profileFolder))?.kind != .directory {
            throw CommandFailure(.usage, "\(profileFolder) is no folder; give one with profiles")
        }
        // All files are for their owner only.
        umask(0o077)
        LoggingSystem.bootstrap { StreamLogHandler.standardError(label: $0) }
        var logger = Logger(label: "carousel")
        logger.logLevel = level
        do {
            try await serve(portals: portals, keptMemory: keptMemory, bufferPages: bufferPages, logger: logger)
        } catch let error as ManagementError {
            throw CommandFailure(starting: error)
        }
    }

    private func serve(
        portals: [PortalAddress], keptMemory: Int64?, bufferPages: PageChoice, logger: Logger
    ) async throws {
        let folder = try StateFolder(path: state.folder)
        let controller = try Controller(
            folder: folder, logger: logger, profileFolder: profileFolder.map { StateFolder.absolute($0) }
        ) { resources throws(ManagementError) in
            try LocalDevices(resources, keptMemory: keptMemory, bufferPages: bufferPages)
        }
        let server = ControlServer(controller: controller, logger: logger)
        do {
            try await controller.start(portals: portals, demo: demo, isStrict: strict)
        } catch {
            await controller.shutDown()
            throw error
        }
        do {
            try await server.run(handlesSignals: true) { await Self.announce(controller) }
        } catch {
            await controller.shutDown()
            throw ManagementError(.system, "the control socket \(folder.socketPath) failed: \(error)")
        }
        logger.info("stopping")
        guard await controller.shutDown() else {
            throw CommandFailure(
                .notWrittenOut, "stopped, but not all that was written could be written out; the log says of what")
        }
        logger.info("stopped")
    }

    private static func announce(_ controller: Controller) async {
        guard let status = try? await controller.status() else { return }
        Output.print(
            "carousel \(status.version) serves \(status.stateFolder) on \(status.portals.joined(separator: ", ")) "
                + "(process \(status.processID); SIGTERM or Ctrl-C stops it)")
        for warning in status.warnings { Output.print("warning: \(warning)") }
    }
}
