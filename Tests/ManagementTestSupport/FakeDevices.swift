public import Catalog
public import Encryption
public import Foundation
public import ISNSClient
public import Management
public import Platform
public import Resources

/// Devices that only take notes: the controller's side of the door can be tested without reactors.
public final class FakeDevices: DeviceAssembly {
    struct Notes {
        var disks: [String: Int64] = [:]
        var images: [String: String] = [:]
        var diskSpaceLimit: Int64?
        var libraries: Set<String> = []
        var sessions: [Resource<Session>] = []
        var failure: ManagementError?
        var plan: FrontEndPlan?
        var plans = 0
        var admitted: [String: TargetPlan] = [:]
        var whenExamining: (@Sendable () -> Void)?
        var portals: [Resource<Portal>] = []
        var isPortOneFree = false
        var failingCartridge: String?
        var hangingCartridge: (barcode: String, barrier: Barrier)?
        var hangingDeletion: Barrier?
        var isMoveLate = false
        var failsAfterMove = false
        var lossOfMove: LossSummary?
        var lateMove: (move: CartridgeMove, library: Int64)?
        var isShutDown = false
        var whenChecking: (@Sendable (String) -> Void)?
        var domains: [DomainChange] = []
        var losses: [String: LossSummary] = [:]
        var statistics = AssemblyStatistics()
        var ejected: Set<String> = []
        var adjusted: [String: Disk.Spec] = [:]
        var preventsRemoval = false
        var thresholds: [ThresholdFinding] = []
        var hangingSurvey: Barrier?
        var hangingFile: (path: String, barrier: Barrier)?
        var snapshots: [String: [ImageSnapshot]] = [:]
        var ranges: [Range<Int64>] = []
        var contents: [String: [UInt8]] = [:]
        var hangingContent: Barrier?
    }

    let notes = Lock(Notes())
    public let catalog: Catalog
    let gate: ChangeGate?

    init(_ catalog: Catalog, gate: ChangeGate? = nil) {
        self.catalog = catalog
        self.gate = gate
    }

    /// The sizes of the disks that run, by name.
    public var disks: [String: Int64] { notes.withLock { $0.disks } }
    /// The libraries that run.
    public var libraries: Set<String> { notes.withLock { $0.libraries } }
    /// What the front end was told to be, last.
    public var plan: FrontEndPlan? { notes.withLock { $0.plan } }
    /// How often the front end was told all.
    public var planCount: Int { notes.withLock { $0.plans } }
    /// What was said of targets of devices alone, by name.
    public var admitted: [String: TargetPlan] { notes.withLock { $0.admitted } }
    /// Whether the end has come.
    public var isShutDown: Bool { notes.withLock { $0.isShutDown } }

    /// Makes starts, growth and moves fail.
    public func fail(with error: ManagementError?) { notes.withLock { $0.failure = error } }
    /// Makes the next move take longer than the controller waits.
    public func delayNextMove() { notes.withLock { $0.isMoveLate = true } }
    /// Makes the next move, and then says that it takes long.
    public func makeNextMoveAndFail() { notes.withLock { $0.failsAfterMove = true } }
    /// Makes the move that took long; why the catalog refuses it.
    public func makeLateMove() -> String? {
        guard let late = notes.withLock({ $0.lateMove }) else { return nil }
        do {
            try catalog.apply([late.move], library: late.library, cause: .command, time: Date())
            return nil
        } catch {
            return "\(error)"
        }
    }
    /// Makes the making of that cartridge fail.
    public func fail(atCartridge barcode: String?) { notes.withLock { $0.failingCartridge = barcode } }
    /// Makes the making of that cartridge wait, once, until the barrier is opened.
    public func hang(atCartridge barcode: String) -> Barrier {
        let barrier = Barrier()
        notes.withLock { $0.hangingCartridge = (barcode, barrier) }
        return barrier
    }
    /// Makes the next removal of cartridges wait until the barrier is opened.
    public func hangAtDeletion() -> Barrier {
        let barrier = Barrier()
        notes.withLock { $0.hangingDeletion = barrier }
        return barrier
    }
    /// Has an initiator log in to the target of the disk or library.
    public func logIn(to name: String) {
        notes.withLock { notes in
            var status = Session.Status()
            status.initiator = "iqn.2026-11.test:i"
            status.isid = "800000000000"
            status.target = DeviceName.targetName(name)
            status.connections = [
                Session.Connection(
                    connectionID: 0, peer: "127.0.0.1:1", local: "127.0.0.1:3260", portal: "127.0.0.1:3260")
            ]
            notes.sessions.append(
                Resource(name: "\(notes.sessions.count + 1)", spec: NoFields(), status: status))
        }
    }

    /// Has all initiators log out of it.
    public func logOut(of name: String) {
        notes.withLock { notes in notes.sessions.removeAll { $0.status.target == DeviceName.targetName(name) } }
    }

    func note(_ change: (inout Notes) -> Void) throws(ManagementError) {
        let failure = notes.withLock { notes in
            if notes.failure == nil { change(&notes) }
            return notes.failure
        }
        if let failure { throw failure }
    }

    public func check(_ library: NewLibrary) throws(ManagementError) {
        guard library.profile == "p", library.driveProfile == "d" else {
            throw ManagementError(.invalid, "there is no such profile")
        }
    }

    public func checkBarcode(_ barcode: String, libraryProfile: String, driveProfile: String) throws(ManagementError) {}

    /// 2 GiB when the label ends with "M8", 1 GiB else.
    public func nativeCapacity(barcode: String, driveProfile: String) -> Int64 {
        barcode.hasSuffix("M8") ? 2 << 30 : 1 << 30
    }

    public func barcodeSuffix(driveProfile: String) -> String { "L8" }

    /// Waits for the barrier of `hang(atFile:)`.
    public func touch(_ path: String) {
        notes.withLock { $0.hangingFile.flatMap { $0.path == path ? $0.barrier : nil } }?.pass()
    }

    /// Makes that file answer nobody until the barrier is opened.
    public func hang(atFile path: String) -> Barrier {
        let barrier = Barrier()
        notes.withLock { $0.hangingFile = (path, barrier) }
        return barrier
    }

    /// Makes all files answer.
    public func answer() { notes.withLock { $0.hangingFile = nil } }

    public func startDisk(
        _ disk: DiskRecord, imagePath: String, userKey: UserKey?, targetName: String
    ) throws(ManagementError) -> Int64 {
        try note {
            $0.disks[disk.name] = disk.size
            $0.images[disk.name] = imagePath
        }
        return disk.size
    }

    public func removeNode(of disk: DiskRecord, imagePath: String) throws(ManagementError) { try gate?(imagePath) }

    /// The snapshots that `takeSnapshots` and `rollBack` have made.
    public func nodes(inImage path: String, userKey: UserKey?) throws(ManagementError) -> [ImageNode] {
        notes.withLock { $0.snapshots[path] ?? [] }.map {
            ImageNode(name: $0.name, isSnapshot: true, size: $0.size, blockSize: 512)
        }
    }

    public func check(image path: String, observer: (Int64) -> Bool) throws(ManagementError) -> [String] { [] }
    public func repair(image path: String) throws(ManagementError) -> ImageRepair { ImageRepair() }
    public func has(node name: String, inImage path: String) throws(ManagementError) -> Bool {
        try nodes(inImage: path, userKey: nil).contains { $0.name == name }
    }

    public func synchronize(_ disk: DiskRecord) throws(ManagementError) {}

    public func growDisk(_ disk: DiskRecord, to size: Int64) throws(ManagementError) {
        if let path = notes.withLock({ $0.images[disk.name] }) {
            try gate?(path)
            do {
                try FileHandle(forUpdating: URL(fileURLWithPath: path)).truncate(atOffset: UInt64(size))
            } catch {
                throw ManagementError(.system, "\(error)")
            }
        }
        try note { $0.disks[disk.name] = size }
    }

    /// The disks whose media are ejected, by name.
    public var ejected: Set<String> { notes.withLock { $0.ejected } }
    /// What the disks were told to be last, by name, since they began.
    public var adjusted: [String: Disk.Spec] { notes.withLock { $0.adjusted } }
    /// Makes initiators prevent the ejection of all media.
    public func preventRemoval(_ isPrevented: Bool = true) { notes.withLock { $0.preventsRemoval = isPrevented } }

    public func adjustDisk(_ disk: DiskRecord, to spec: Disk.Spec) throws(ManagementError) {
        try note { $0.adjusted[disk.name] = spec }
    }

    /// What `reach` has said.
    public func setDiskSpaceLimit(_ bytes: Int64?) { notes.withLock { $0.diskSpaceLimit = bytes } }

    public var diskSpace: DiskPoolSpace { DiskPoolSpace(used: 4096, raw: 0) }

    /// The limit of all disk images together.
    public var diskSpaceLimit: Int64? { notes.withLock { $0.diskSpaceLimit } }

    public func observeThresholds() -> [ThresholdFinding] { notes.withLock { $0.thresholds } }

    /// Says which disks use more than their thresholds say.
    public func reach(_ thresholds: [ThresholdFinding]) { notes.withLock { $0.thresholds = thresholds } }

    public func memoryStatus(ofDisk disk: DiskRecord) -> FileStatus? { nil }

    public func cacheProblem(ofDisk disk: DiskRecord) -> String? { nil }
    public func compression(ofDisk disk: DiskRecord) -> String? { nil }

    public func operation(ofDisk disk: DiskRecord) -> OperationSummary? { nil }

    public func failedOperationsOfDisks() -> [String: OperationSummary] { [:] }

    public func protectionFile(ofDisk disk: DiskRecord) -> FileStatus.Identity? { nil }

    public func keyFile(ofDisk disk: DiskRecord) -> FileStatus.Identity? { nil }

    public func ejectDisk(
        _ disk: DiskRecord, isForced: Bool, keep: () throws(ManagementError) -> Void
    ) throws(ManagementError) {
        guard isForced || !notes.withLock({ $0.preventsRemoval }) else { throw ManagementError(.inUse, "prevented") }
        try keep()
        notes.withLock { _ = $0.ejected.insert(disk.name) }
    }

    public func loadDisk(_ disk: DiskRecord, keep: () throws(ManagementError) -> Void) throws(ManagementError) {
        try keep()
        notes.withLock { _ = $0.ejected.remove(disk.name) }
    }

    /// Has the next move lose data of the cartridge that it moves.
    public func loseAtNextMove(since: Date, reason: String) {
        notes.withLock { $0.lossOfMove = LossSummary(since: since, reason: reason) }
    }

    /// Says that the disk or the cartridge of that name has lost data.
    public func lose(_ name: String, since: Date?, reason: String) {
        notes.withLock { $0.losses[name] = LossSummary(since: since, reason: reason) }
    }

    /// What `lose` has said.
    public func loss(ofDisk disk: DiskRecord) -> LossSummary? { notes.withLock { $0.losses[disk.name] } }

    public func lossesOfDisks() -> [String: LossSummary] {
        notes.withLock { notes in notes.losses.filter { notes.disks[$0.key] != nil } }
    }

    /// Takes back what `lose` has said.
    public func acknowledgeLoss(ofDisk disk: DiskRecord) throws(ManagementError) -> Bool {
        notes.withLock { $0.losses.removeValue(forKey: disk.name) != nil }
    }

    /// Takes back what `lose` has said.
    public func acknowledgeLoss(
        of cartridge: CartridgeRecord, in library: LibraryRecord, folder: String
    ) throws(ManagementError) -> Bool {
        notes.withLock { $0.losses.removeValue(forKey: cartridge.barcode) != nil }
    }

    public func stopDisk(_ disk: DiskRecord, targetName: String) {
        notes.withLock { $0.disks[disk.name] = nil }
    }

    public func createCartridges(
        _ cartridges: [CartridgeRecord], in folder: String, driveProfile: String
    ) throws(ManagementError) {
        for cartridge in cartridges {
            let path = "\(folder)/\(cartridge.barcode).tape"
            let barrier = notes.withLock { notes -> Barrier? in
                guard let hanging = notes.hangingCartridge, hanging.barcode == cartridge.barcode else { return nil }
                notes.hangingCartridge = nil
                return hanging.barrier
            }
            barrier?.pass()
            if notes.withLock({ $0.failingCartridge }) == cartridge.barcode {
                throw ManagementError(.system, "no space for \(path)")
            }
            try gate?(path)
            do {
                try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
            } catch {
                throw ManagementError(.system, "\(error)")
            }
        }
    }

    /// A folder's name tells its barcode; one with a file `damaged` in it is damaged.
    public func inspect(
        cartridge barcode: String, in folder: String, driveProfile: String
    ) throws(ManagementError) -> AdoptedCartridge {
        let path = "\(folder)/\(barcode).tape"
        guard FileManager.default.fileExists(atPath: path),
            !FileManager.default.fileExists(atPath: path + "/damaged")
        else { throw ManagementError(.damaged, "\(path) cannot be used") }
        return AdoptedCartridge(barcode: barcode, serialNumber: "SN-\(barcode)", capacity: 1 << 20)
    }

    public func deleteCartridges(
        _ cartridges: [CartridgeRecord], of library: LibraryRecord, in folder: String
    ) throws(ManagementError) {
        notes.withLock { notes in
            defer { notes.hangingDeletion = nil }
            return notes.hangingDeletion
        }?.pass()
        for cartridge in cartridges {
            let path = "\(folder)/\(cartridge.barcode).tape"
            try gate?(path)
            try? FileManager.default.removeItem(atPath: path)
        }
    }

    /// Those whose folders are not there, and what `lose` has said.
    public func examine(
        _ cartridges: [CartridgeRecord], of library: LibraryRecord, in folder: String
    ) -> CartridgeFindings {
        notes.withLock { $0.whenExamining }?()
        var findings = cartridgeFindings(of: library)
        for cartridge in cartridges
        where !FileManager.default.fileExists(atPath: "\(folder)/\(cartridge.barcode).tape") {
            findings.problems[cartridge.barcode] = CartridgeProblem(.missing, "its files are missing")
        }
        return findings
    }

    /// Calls `body` whenever somebody looks at cartridges.
    public func whenExamining(_ body: @escaping @Sendable () -> Void) { notes.withLock { $0.whenExamining = body } }

    /// No problems, and what `lose` has said of the library's cartridges.
    public func cartridgeFindings(of library: LibraryRecord) -> CartridgeFindings {
        let cartridges = (try? catalog.cartridges(library: library.identity.id)) ?? []
        let losses = notes.withLock { $0.losses }
        return CartridgeFindings(
            losses: losses.filter { entry in cartridges.contains { $0.barcode == entry.key } })
    }

    /// Reads a byte of each cartridge, and finds what is missing.
    public func check(
        _ cartridge: CartridgeRecord, of library: LibraryRecord, in folder: String, repairs: Bool,
        observer: @escaping @Sendable (Int64) -> Bool
    ) -> [Finding] {
        let wait = notes.withLock { $0.whenChecking }
        wait?(cartridge.barcode)
        guard observer(1) else { return [] }
        guard FileManager.default.fileExists(atPath: "\(folder)/\(cartridge.barcode).tape") else {
            return [Finding(.cartridge, "\(library.name)/\(cartridge.barcode)", .error, "its files are missing")]
        }
        return []
    }

    public func reservationFindings(ofUnit wanted: Int64?) -> ReservationFindings { ReservationFindings() }
    public func clearReservations(
        ofUnit key: Int64, whenCleared: @escaping @Sendable () -> Void
    ) -> ReservationClearing? { nil }
    public func accessStates(ofUnit wanted: Int64?) -> [Int64: [AccessState.Group]] { [:] }
    public func setAccessState(
        _ wanted: AccessState.Group, ofUnit key: Int64, whenSet: @escaping @Sendable () -> Void
    ) -> AccessStateSetting? { nil }

    /// Calls `body` whenever the check of a cartridge begins.
    public func whenChecking(_ body: @escaping @Sendable (String) -> Void) {
        notes.withLock { $0.whenChecking = body }
    }

    public func medium(of cartridge: CartridgeRecord, in folder: String, driveProfile: String) -> MediumSummary? {
        MediumSummary(kind: "tape", used: 42)
    }

    public func startLibrary(
        _ library: LibraryRecord, cartridges: [CartridgeRecord], cartridgeFolder: String, targetName: String
    ) throws(ManagementError) {
        try note { $0.libraries.insert(library.name) }
    }

    public func revision(ofUnit key: Int64) -> String? { nil }

    public func stopLibrary(_ library: LibraryRecord, targetName: String) {
        notes.withLock { _ = $0.libraries.remove(library.name) }
    }

    public func move(
        _ move: CartridgeMove, of cartridge: CartridgeRecord, in library: LibraryRecord
    ) throws(ManagementError) {
        try note { _ in }
        let isLate = notes.withLock { notes in
            defer { notes.isMoveLate = false }
            if notes.isMoveLate { notes.lateMove = (move, library.identity.id) }
            return notes.isMoveLate
        }
        if isLate { throw ManagementError(.system, "the move takes long") }
        do {
            try catalog.apply(
                [move], library: library.identity.id, cause: .command, actor: Requester.current, time: Date())
        } catch {
            throw ManagementError(.conflict, "\(error)")
        }
        notes.withLock { notes in
            if let loss = notes.lossOfMove.take() { notes.losses[cartridge.barcode] = loss }
        }
        let fails = notes.withLock { notes in
            defer { notes.failsAfterMove = false }
            return notes.failsAfterMove
        }
        if fails { throw ManagementError(.system, "the move takes long") }
    }

    public func configure(_ plan: FrontEndPlan) {
        notes.withLock { notes in
            notes.plan = plan
            notes.plans += 1
        }
    }

    public func admit(_ plan: TargetPlan) { notes.withLock { $0.admitted[plan.name] = plan } }

    public func map(_ logicalUnits: [Int: Int64], atTarget name: String) {
        notes.withLock { notes in
            guard let index = notes.plan?.targets.firstIndex(where: { $0.name == name }) else { return }
            notes.plan?.targets[index].logicalUnits.merge(logicalUnits) { first, _ in first }
        }
    }

    /// Has port 1 be free from now on.
    public func freePortOne() { notes.withLock { $0.isPortOneFree = true } }

    public func openPortal(_ portal: PortalAddress, group: Int) throws(ManagementError) -> PortalAddress {
        guard portal.port != 1 || notes.withLock({ $0.isPortOneFree }) else {
            throw ManagementError(.inUse, "port 1 is taken")
        }
        let resource = Resource<Portal>(
            name: portal.description, spec: Portal.Spec(portalGroup: group), status: Portal.Status())
        notes.withLock { $0.portals.append(resource) }
        return portal
    }

    public func checkPortal(_ portal: PortalAddress) throws(ManagementError) {
        guard portal.port != 1 else { throw ManagementError(.inUse, "port 1 is taken") }
    }

    public func closePortals() {
        notes.withLock { $0.portals = [] }
    }

    public func closePortal(_ portal: PortalAddress) {
        notes.withLock { $0.portals.removeAll { $0.name == portal.description } }
    }

    public func drainPortal(_ portal: PortalAddress, seconds: Int) { setDraining(portal, true) }

    public func resumePortal(_ portal: PortalAddress) { setDraining(portal, false) }

    private func setDraining(_ portal: PortalAddress, _ isDraining: Bool) {
        notes.withLock { notes in
            for index in notes.portals.indices where notes.portals[index].name == portal.description {
                notes.portals[index].status.isDraining = isDraining
            }
        }
    }

    public func portals() -> [Resource<Portal>] { notes.withLock { $0.portals } }

    public func offer() -> Offer { Offer(portals: [], targets: []) }

    public func changeDomains(_ change: DomainChange) { notes.withLock { $0.domains.append(change) } }

    /// What discovery domains said, in order.
    public var domains: [DomainChange] { notes.withLock { $0.domains } }

    public func closeSession(_ name: String, seconds: Int) {
        notes.withLock { $0.sessions.removeAll { $0.name == name } }
    }

    /// None.
    public var refusedLogins: Int { 0 }
    public func statistics() -> AssemblyStatistics { notes.withLock { $0.statistics } }
    public func allocatedBytes() -> [String: Int] {
        notes.withLock { $0.hangingSurvey }?.pass()
        return notes.withLock { $0.disks.mapValues { Int($0) } }
    }
    /// Makes who looks at the space that images take wait until the barrier is opened.
    public func hangAtSurvey() -> Barrier {
        let barrier = Barrier()
        notes.withLock { $0.hangingSurvey = barrier }
        return barrier
    }
    /// Makes that what was counted.
    public func setStatistics(_ statistics: AssemblyStatistics) { notes.withLock { $0.statistics = statistics } }

    public func sessions() -> [Resource<Session>] { notes.withLock { $0.sessions } }

    public func sessionCounts() -> [String: Int] {
        Dictionary(sessions().map { ($0.status.target, 1) }, uniquingKeysWith: +)
    }

    /// False when something is lost.
    public func shutDown() async -> Bool {
        notes.withLock { notes in
            notes.isShutDown = true
            return notes.losses.isEmpty
        }
    }
}

/// A controller on a scratch state folder, over fake devices.
public final class ControllerFixture: Sendable {
    /// The state folder.
    public let path: String
    public let controller: Controller
    public let devices: FakeDevices

    /// A controller on a new folder, whose changes pass `gate`.
    public init(gate: ChangeGate? = nil) throws {
        path = NSTemporaryDirectory() + "carousel-\(UUID().uuidString.prefix(8))"
        (controller, devices) = try Self.make(path, gate: gate)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    /// Another controller on the folder at `path`.
    public static func make(_ path: String, gate: ChangeGate? = nil) throws -> (Controller, FakeDevices) {
        let made = Lock<FakeDevices?>(nil)
        let controller = try Controller(folder: try StateFolder(path: path, gate: gate), logger: .silent) { resources in
            let devices = FakeDevices(resources.catalog, gate: gate)
            made.withLock { $0 = devices }
            return devices
        }
        guard let devices = made.withLock({ $0 }) else { throw ManagementError(.internal, "no devices") }
        return (controller, devices)
    }

    /// Everything in the state folder but the catalog, the lock and the reserve.
    public func files() -> Set<String> {
        let entries = FileManager.default.enumerator(atPath: path)?.compactMap { $0 as? String } ?? []
        return Set(entries.filter { !$0.hasPrefix("catalog") && $0 != "lock" && $0 != "reserve" })
    }

    /// Makes a library of the fake profiles.
    @discardableResult
    public func makeLibrary(
        _ name: String = "vtl", slots: Int = 4, cartridges: Int = 2
    ) async throws -> Resource<Library> {
        try await controller.createLibrary(
            name,
            Library.Spec(
                profile: "p", drives: 2, driveProfile: "d", slots: slots, mailSlots: 1,
                cartridges: cartridges, firstBarcode: "A00001L8", cartridgeSize: 1 << 20))
    }

    /// The kind of things that is called so in paths, as the API sees it.
    public func endpoint(_ plural: String) throws -> Endpoint {
        let endpoints = Registry.endpoints(controller)
        guard let endpoint = endpoints.first(where: { $0.kind.plural == plural }) else {
            throw ManagementError(.notFound, plural)
        }
        return endpoint
    }

    /// The refusal of `operation`; nil when there was none.
    public func refusal(_ operation: () async throws -> some Sendable) async -> ManagementError? {
        do {
            _ = try await operation()
            return nil
        } catch {
            return error as? ManagementError
        }
    }
}

extension Resource<ISCSITarget> {
    /// The numbers of the units that were mapped for the group; nil when it sees what the target shows, or nothing.
    public func seen(_ group: String) -> [Int]? { spec.groups[group]?.units?.keys.sorted() }
}
