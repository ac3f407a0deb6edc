import Catalog
public import Resources

public struct DiskDriver: Driver {
    private let controller: Controller

    public init(_ controller: Controller) { self.controller = controller }

    public func list(_ page: Page) async throws(ManagementError) -> [Resource<Disk>] {
        try await controller.spaciousDisks(page)
    }

    public func show(_ name: String) async throws(ManagementError) -> Resource<Disk> {
        try await controller.spaciousDisk(name)
    }

    public func create(_ name: String, _ spec: Disk.Spec) async throws(ManagementError) -> Resource<Disk> {
        try await controller.createDisk(name, spec)
    }

    public func change(
        _ present: Resource<Disk>, to spec: Disk.Spec
    ) async throws(ManagementError) -> Resource<Disk> {
        try await controller.changeDisk(present.name, to: spec)
    }

    public func delete(_ name: String) async throws(ManagementError) { try await controller.deleteDisk(name) }

    public func perform(
        _ action: String, on name: String?, _ arguments: [String: JSONValue]
    ) async throws(ManagementError) -> JSONValue {
        let name = name ?? ""
        switch action {
        case Disk.Eject.name:
            let isForced = try Disk.Eject.arguments(arguments).isForced
            try await controller.ejectDisk(name, isForced: isForced)
            return ["done": .text("the medium of disk \(name) is ejected")]
        case Disk.Load.name:
            _ = try Disk.Load.arguments(arguments)
            try await controller.loadDisk(name)
            return ["done": .text("the medium of disk \(name) is loaded")]
        case Disk.Copy.name: return Self.begun(try await controller.startCopy(try Disk.Copy.arguments(arguments)))
        case Disk.Export.name:
            return Self.begun(try await controller.startExport(try Disk.Export.arguments(arguments)))
        case Disk.Import.name:
            return Self.begun(try await controller.startImport(try Disk.Import.arguments(arguments)))
        default:
            _ = try NoFields(arguments, of: action)
            try await controller.acknowledgeLoss(ofDisk: name)
            return ["done": .text("disk \(name) can be written again")]
        }
    }

    private static func begun(_ job: JobSummary) -> JSONValue {
        ["done": .text("job \(job.id) has begun: \(job.work)"), "job": job.resource.json]
    }

    public func generation(of name: String) throws(ManagementError) -> Int64? {
        try controller.plane.diskRecord(name).generation
    }
}
