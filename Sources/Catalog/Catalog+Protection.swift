import GRDB
public import Resources

extension Catalog {
    /// Says which type of protection information the disk with the key `disk` has, 0 for none, and records `event` with
    /// it. What is so already is written all the same.
    public func setProtection(_ type: Int, disk: Int64, event: NewEvent? = nil) throws(CatalogError) {
        try write(event) { database in
            let row = try Row.fetchOne(database, sql: "\(Self.disks) WHERE logicalUnit.id = ?", arguments: [disk])
            guard let record = row.map(DiskRecord.init(row:)), record.damage == nil else {
                throw CatalogError.conflict("there is no disk with the key \(disk), or its spec cannot be read")
            }
            var spec = record.spec
            spec.protection = type
            try Self.change(Disk.self, named: record.name, to: spec, in: database)
        }
    }

    /// Changes the spec of a disk, and records `event` with it. The type of its protection information stays the one
    /// that is stored: initiators change that (`setProtection`), and nobody else.
    public func changeDisk(named name: String, to spec: Disk.Spec, event: NewEvent? = nil) throws(CatalogError) {
        try write(event) { database in
            let row = try Row.fetchOne(
                database, sql: "\(Self.disks) WHERE resource.kind = 'disk' AND name = ?", arguments: [name])
            var changed = spec
            if let record = row.map(DiskRecord.init(row:)) { changed.protection = record.spec.protection }
            try Self.change(Disk.self, named: name, to: changed, in: database)
        }
    }
}
