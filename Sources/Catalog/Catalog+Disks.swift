import GRDB
public import Resources

public import struct Foundation.Date

/// A disk and its image.
public struct DiskRecord: Hashable, Sendable {
    public let identity: LogicalUnitIdentity
    /// The disk as it is stored.
    public let resource: StoredResource<Disk>
    /// The image: a path relative to the state folder, or an absolute one for an external image.
    public let image: String
    /// Whether the image belongs to the user and is kept when the disk is deleted.
    public let imageIsExternal: Bool
    /// The name of the node of the image that the disk shows; nil where an image is one disk.
    public let node: String?
    /// Whether its medium, a removable one, is ejected.
    public let isEjected: Bool

    /// The name given by the user.
    public var name: String { resource.name }
    /// What is wanted of it; the defaults where `damage` says why it cannot be read.
    public var spec: Disk.Spec { resource.spec }
    /// What is wrong with the spec that is stored, in one clause; nil when nothing is. Such a disk cannot be served.
    public var damage: String? { resource.damage ?? Self.fault(in: spec) }
    /// The capacity in bytes, a multiple of `blockSize`; 0 when it is not known because of `damage`.
    public var size: Int64 { damage == nil ? spec.size ?? 0 : 0 }
    /// The logical block length in bytes.
    public var blockSize: Int { spec.blockSize }
    /// When it was made.
    public var created: Date { resource.created }
    /// Whether it is being made, complete or being deleted.
    public var phase: RecordPhase { resource.phase }
    /// Which state of it this is.
    public var generation: Int64 { resource.generation }

    /// Why a spec is none of a disk that is there.
    static func fault(in spec: Disk.Spec) -> String? {
        guard let size = spec.size else { return "its spec has no size" }
        guard size > 0, size % Int64(spec.blockSize) == 0 else {
            return "its size of \(size) bytes is not made of blocks of \(spec.blockSize)"
        }
        return nil
    }
}

extension Catalog {
    static let disks = """
        SELECT resource.*, logicalUnit.id AS unit, serialNumber, naaIdentifier, image, node, imageIsExternal,
            EXISTS (SELECT 1 FROM ejectedDisk WHERE ejectedDisk.id = diskImage.id) AS isEjected
        FROM resource JOIN diskImage ON diskImage.resource = resource.id
            JOIN logicalUnit ON logicalUnit.id = diskImage.id
        """

    /// Adds a disk in phase `creating`, unless it is told another one, with a new identity and its target `targetName`,
    /// where it is logical unit 0. Its spec has the size. `node` is the name of the node of the image that it shows.
    public func addDisk(
        name: String, targetName: String, _ spec: Disk.Spec, image: String, node: String? = nil, imageIsExternal: Bool,
        created: Date, phase: RecordPhase = .creating, event: NewEvent? = nil
    ) throws(CatalogError) -> DiskRecord {
        if let fault = DiskRecord.fault(in: spec) { throw .conflict("disk '\(name)': \(fault)") }
        return try write(event) { database in
            let identity = try LogicalUnitIdentity.insert(.disk, in: database)
            let resource = try Self.insert(
                Disk.self, named: name, spec, created: created, phase: phase, in: database)
            try database.execute(
                sql: "INSERT INTO diskImage (id, resource, image, node, imageIsExternal) VALUES (?, ?, ?, ?, ?)",
                arguments: [identity.id, resource.id, image, node ?? "", imageIsExternal])
            try Self.addTarget(targetName, logicalUnits: [identity.id], in: database)
            return DiskRecord(
                identity: identity, resource: resource, image: image, imageIsExternal: imageIsExternal, node: node,
                isEjected: false)
        }
    }

    /// The disks by name: at most `limit` of those behind `after`. The cost grows with the number of these only.
    public func disks(after: String? = nil, limit: Int = .max) throws(CatalogError) -> [DiskRecord] {
        try read { database in
            try Row.fetchAll(
                database,
                sql: "\(Self.disks) WHERE resource.kind = 'disk' AND name > ? ORDER BY name LIMIT ?",
                arguments: [after ?? "", limit]
            ).map(DiskRecord.init(row:))
        }
    }

    /// The disk `name`, if there is one.
    public func disk(named name: String) throws(CatalogError) -> DiskRecord? {
        try read { database in
            try Row.fetchOne(
                database, sql: "\(Self.disks) WHERE resource.kind = 'disk' AND name = ?", arguments: [name]
            ).map(DiskRecord.init(row:))
        }
    }

    /// The disks among the logical units with `keys`, in no order. The cost grows with the number of keys only.
    public func disks(keys: some Collection<Int64>) throws(CatalogError) -> [DiskRecord] {
        try read { database in
            let statement = try database.makeStatement(sql: "\(Self.disks) WHERE logicalUnit.id = ?")
            return try keys.compactMap { key in
                try Row.fetchOne(statement, arguments: [key]).map(DiskRecord.init(row:))
            }
        }
    }

    /// The disks whose image is `image`, by name.
    public func disks(image: String) throws(CatalogError) -> [DiskRecord] {
        try read { database in
            try Row.fetchAll(
                database, sql: "\(Self.disks) WHERE resource.kind = 'disk' AND image = ? ORDER BY name",
                arguments: [image]
            ).map(DiskRecord.init(row:))
        }
    }

    /// Removes the disk `name`, its identity and its target.
    public func removeDisk(named name: String) throws(CatalogError) {
        try remove { database in
            try Self.removeLogicalUnits(
                matching: """
                    id = (SELECT diskImage.id FROM diskImage JOIN resource ON resource.id = diskImage.resource
                        WHERE kind = 'disk' AND name = ?)
                    """, arguments: [name], in: database)
            try Self.delete(Disk.self, named: name, in: database)
        }
    }
}

extension DiskRecord {
    init(row: Row) {
        let naaIdentifier: Int64 = row["naaIdentifier"]
        let node: String = row["node"]
        self.init(
            identity: LogicalUnitIdentity(
                id: row["unit"], serialNumber: row["serialNumber"], naaIdentifier: UInt64(bitPattern: naaIdentifier)),
            resource: StoredResource(row: row), image: row["image"], imageIsExternal: row["imageIsExternal"],
            node: node.isEmpty ? nil : node, isEjected: row["isEjected"])
    }
}
