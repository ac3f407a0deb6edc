import Catalog

extension Controller {
    /// The targets by name.
    public func targets() throws(ManagementError) -> [TargetSummary] {
        let units = try logicalUnits()
        let sessions = assembly.sessions()
        return try query { () throws(CatalogError) in try catalog.targets() }.map { target in
            TargetSummary(
                name: target.name,
                logicalUnits: target.logicalUnits.sorted { $0.key < $1.key }.compactMap { number, key in
                    units[key].map { unit in
                        LogicalUnitSummary(
                            number: number, kind: unit.kind, device: unit.device,
                            serialNumber: unit.identity.serialNumber, naa: unit.identity.naaText)
                    }
                }, portals: portals.map(\.description), sessions: sessions.count { $0.target == target.name })
        }
    }

    /// The target `name`, given as an iSCSI name or as the name of its disk or library.
    public func target(_ name: String) throws(ManagementError) -> TargetSummary {
        let wanted = [name, DeviceName.targetName(name)]
        guard let target = try targets().first(where: { wanted.contains($0.name) }) else {
            throw ManagementError(
                .notFound, "there is no target '\(name)'; 'carousel target list' shows those there are")
        }
        return target
    }

    private func logicalUnits() throws(ManagementError) -> [Int64: (
        kind: String, device: String, identity: LogicalUnitIdentity
    )] {
        var units: [Int64: (kind: String, device: String, identity: LogicalUnitIdentity)] = [:]
        for disk in try query({ () throws(CatalogError) in try catalog.disks() }) {
            units[disk.identity.id] = ("disk", "disk \(disk.name)", disk.identity)
        }
        for library in try query({ () throws(CatalogError) in try catalog.libraries() }) {
            units[library.identity.id] = ("changer", "changer of library \(library.name)", library.identity)
            for drive in library.drives {
                units[drive.identity.id] = (
                    "drive", "drive:\(drive.number) of library \(library.name)", drive.identity
                )
            }
        }
        return units
    }
}
