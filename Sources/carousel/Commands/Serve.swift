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
            could not be written out, which the log names. SIGHUP has it read the CHAP secrets and the tokens again, \
            and try again to serve what it could not and to open portals that it could not; the log says what came of \
            that.

            It listens on the portals given here and on those of the last time, or on 127.0.0.1:3260, which only this \
            machine reaches, when there are none. It remembers all of them: 'carousel portal delete' makes it forget \
            one, 'carousel portal create' adds one while it runs. Under systemd it takes the sockets of socket units \
            as portals, and says when it serves and when it stops; 'carousel service-unit' prints a unit.

            A new target lets in who reaches it through a loopback address of this machine, whatever the portal. A \
            group of initiators that is mapped to it lets others in: see 'carousel group', 'carousel target map' and \
            'carousel target access', and 'carousel chap' for passwords. Neither encrypts what is on the wire.
            """)

    @OptionGroup var state: FolderOption

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

    @OptionGroup var network: NetworkOptions

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
        if profileFolder == "" {
            throw CommandFailure(.usage, "'' is no name for a folder; name one with profiles with --profiles")
        }
        if let profileFolder, (try? FileStatus.of(profileFolder))?.kind != .directory {
            throw CommandFailure(.usage, "\(profileFolder) is no folder; give one with profiles")
        }
        let network = try network.access
        do throws(ManagementError) { try OpenFiles.check() } catch { throw CommandFailure(starting: error) }
        let manager = ServiceManager(
            environment: ProcessInfo.processInfo.environment, processID: ProcessInfo.processInfo.processIdentifier)
        let inherited = try Self.takeSockets(manager)
        // All files are for their owner only.
        umask(0o077)
        LoggingSystem.bootstrap { StreamLogHandler(label: $0, stream: LogOutput.standardError) }
        defer { LogOutput.standardError.flush() }
        var logger = Logger(label: "carousel")
        logger.logLevel = level
        do {
            // From the first moment on, for nohup and terminals that close send it at any time.
            let signals = try Self.catchSignals()
            try await serve(
                portals: portals + inherited.portals.map(\.address).map(PortalAddress.init),
                control: inherited.control, network: network, manager: manager, signals: signals, logger: logger
            ) { resources throws(ManagementError) in
                try LocalDevices(
                    resources, keptMemory: keptMemory, bufferPages: bufferPages, inheritedSockets: inherited.portals)
            }
        } catch let error as ManagementError {
            throw CommandFailure(starting: error)
        }
    }

    private func serve(
        portals: [PortalAddress], control: ListenSocket?, network: NetworkAccess?, manager: ServiceManager,
        signals: CaughtSignals, logger: Logger,
        makeDevices: @Sendable (Controller.Resources) throws(ManagementError) -> LocalDevices
    ) async throws {
        let folder = try StateFolder(path: state.folder)
        let network = try network.map { access throws(ManagementError) in try NetworkSocket(access) }
        let made = Lock<LocalDevices?>(nil)
        let controller = try Controller(
            folder: folder, logger: logger, profileFolder: profileFolder.map { StateFolder.absolute($0) }
        ) { resources throws(ManagementError) in
            let devices = try makeDevices(resources)
            made.withLock { $0 = devices }
            return devices
        }
        // NIO closes the descriptor that it is given.
        let server = ControlServer(
            controller: controller, inheritedSocket: control.map { dup($0.fileDescriptor) }, network: network,
            logger: logger)
        let starting = Self.announceStart(manager)
        do {
            try await controller.start(portals: portals, demo: demo, isStrict: strict)
        } catch {
            starting.cancel()
            await controller.shutDown()
            throw error
        }
        starting.cancel()
        let reloading = Task {
            for await _ in signals.hangUps {
                manager.tell("RELOADING=1", "STATUS=reading files again")
                await controller.reload()
                if let network { Self.reload(network, logger) }
                manager.tell("READY=1", "STATUS=\(await Self.status(of: controller))")
            }
        }
        if let devices = made.withLock({ $0 }) { Self.startWatchdog(manager, devices) }
        let serving = Task {
            try await server.run {
                await Self.announce(controller, network?.address, logger)
                manager.tell("READY=1", "STATUS=\(await Self.status(of: controller))")
            }
        }
        // Not by way of the server: whoever asks it for something, or keeps a connection, cannot put off the end.
        let ending = Task {
            for await _ in signals.ends { break }
            logger.info("stopping")
            manager.tell("STOPPING=1", "STATUS=writing everything to its media")
            let isWritten = await controller.shutDown()
            serving.cancel()
            return isWritten
        }
        do {
            try await Self.finish(serving, ending, logger)
        } catch let error as ManagementError {
            await controller.shutDown()
            throw error
        } catch is CancellationError {
            // The signal has ended it.
        } catch {
            await controller.shutDown()
            throw ManagementError(.system, "the control socket \(folder.socketPath) failed: \(error)")
        }
        reloading.cancel()
        signals.stop()
        guard await ending.value else {
            throw CommandFailure(
                .notWrittenOut, "stopped, but not all that was written could be written out; the log says of what")
        }
        logger.info("stopped")
    }

    /// Waits for the end of the server. When everything else has ended, connections that do not end get `endPatience`
    /// and no more.
    private static func finish(
        _ serving: Task<Void, any Error>, _ ending: Task<Bool, Never>, _ logger: Logger
    ) async throws {
        let bound = Task {
            let isWritten = await ending.value
            try await Task.sleep(for: endPatience)
            logger.warning("connections of the control socket did not end; they are cut")
            LogOutput.standardError.flush()
            Glibc.exit(isWritten ? 0 : ExitStatus.notWrittenOut.rawValue)
        }
        defer { bound.cancel() }
        try await serving.value
    }

    /// How often the service manager is told that the start goes on, and how much longer it may take each time: a
    /// change of the configuration that was interrupted is taken back first, thing by thing.
    private static let startInterval = Duration.seconds(20)
    private static let startExtension = Duration.seconds(60)

    /// Tells the service manager that the start goes on, until the task is cancelled.
    private static func announceStart(_ manager: ServiceManager) -> Task<Void, Never> {
        Task {
            while (try? await Task.sleep(for: startInterval)) != nil {
                manager.tell(
                    "EXTEND_TIMEOUT_USEC=\(startExtension.components.seconds * 1_000_000)", "STATUS=starting")
            }
        }
    }

    /// How long connections of the control socket may take to end when the daemon has ended otherwise.
    private static let endPatience = Duration.seconds(5)

    // MARK: The service manager and signals

    /// The sockets of socket units: those with IP addresses for portals, and one with a path for control.
    private static func takeSockets(
        _ manager: ServiceManager
    ) throws(CommandFailure) -> (portals: [ListenSocket], control: ListenSocket?) {
        let sockets: [ServiceManager.InheritedSocket]
        do {
            sockets = try manager.takeSockets()
        } catch {
            throw CommandFailure(
                .systemError,
                "\(error); a portal's is a stream socket that listens, with BindIPv6Only=ipv6-only for IPv6")
        }
        for inherited in sockets {
            let wanted = inherited.socket.address.port == nil ? "control" : "portal"
            guard inherited.name == wanted || !["control", "portal"].contains(inherited.name) else {
                throw CommandFailure(
                    .systemError,
                    "the inherited socket '\(inherited.name)' has the address '\(inherited.socket.address)'; a portal "
                        + "has an IP address and port, and the control socket a path")
            }
        }
        let controls = sockets.map(\.socket).filter { $0.address.port == nil }
        guard controls.count <= 1 else {
            throw CommandFailure(.systemError, "\(controls.count) control sockets are inherited; there can be one")
        }
        return (sockets.map(\.socket).filter { $0.address.port != nil }, controls.first)
    }

    /// The signals that the daemon takes: each element is one, or several that came together.
    struct CaughtSignals: Sendable {
        /// SIGHUP.
        let hangUps: AsyncStream<Void>
        /// SIGTERM and SIGINT.
        let ends: AsyncStream<Void>
        /// Ends both streams.
        let stop: @Sendable () -> Void
    }

    private static func catchSignals() throws(ManagementError) -> CaughtSignals {
        let (hangUps, hangUp) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        let (ends, end) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        do {
            try Signals.watch([Signals.hangUp, Signals.terminate, Signals.interrupt]) { signal in
                if signal == Signals.hangUp { hangUp.yield() } else { end.yield() }
            }
        } catch {
            throw ManagementError(.system, "the signals that end the daemon cannot be caught: \(error)")
        }
        return CaughtSignals(hangUps: hangUps, ends: ends) {
            hangUp.finish()
            end.finish()
        }
    }

    /// Tells the watchdog of the service manager, where there is one, that the reactors answer, at twice the pace that
    /// it asks for.
    private static func startWatchdog(_ manager: ServiceManager, _ devices: LocalDevices) {
        guard let interval = manager.watchdogInterval else { return }
        let thread = Thread {
            while true {
                if devices.answer(within: interval / 4) { manager.tell("WATCHDOG=1") }
                Thread.sleep(forTimeInterval: (interval / 4) / .seconds(1))
            }
        }
        thread.name = "watchdog"
        thread.start()
    }

    private static func reload(_ network: NetworkSocket, _ logger: Logger) {
        do {
            try network.reload()
            logger.notice("certificate read again")
        } catch {
            logger.error("the certificate stays as it was", metadata: ["reason": "\(error.message)"])
        }
    }

    private static func status(of controller: Controller) async -> String {
        guard let status = try? await controller.status() else { return "serving" }
        let counts = [
            Counted.text(status.disks, "disk"), status.libraries == 1 ? "1 library" : "\(status.libraries) libraries",
        ]
        let problems = status.problems.isEmpty ? "" : "; \(Counted.text(status.problems.count, "problem"))"
        return "serving \(counts.joined(separator: " and ")) on \(status.portals.joined(separator: ", "))\(problems)"
    }

    private static func announce(_ controller: Controller, _ network: SocketAddress?, _ logger: Logger) async {
        guard let status = try? await controller.status() else { return }
        // That nobody reads it holds up no daemon.
        let output = LogOutput.standardOutput(logger)
        output.write(
            "carousel \(status.version) serves \(status.stateFolder) on \(status.portals.joined(separator: ", ")) "
                + "(process \(status.processID); SIGTERM or Ctrl-C stops it)\n")
        if let network { output.write("it is asked with tokens on https://\(network), too\n") }
        for warning in status.warnings { output.write("warning: \(warning)\n") }
    }
}

extension PortalAddress {
    /// The address of an inherited socket.
    fileprivate init(_ address: SocketAddress) {
        self.init(address: address.host, port: Int(address.port ?? 0))
    }
}
