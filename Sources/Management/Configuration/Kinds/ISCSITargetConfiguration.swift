import Catalog
import ISCSI
import Resources

extension ISCSITargetDriver: ConfiguredDriver {
    static var needs: [String] {
        [Disk.description.plural, Library.description.plural, InitiatorGroup.description.plural]
    }

    static func present(_ plane: ControlPlane) throws(ManagementError) -> [(name: String, spec: ISCSITarget.Spec)] {
        try plane.targets().map { ($0.name, $0.spec) }
    }

    static func canonical(_ name: String) -> String { ISCSIName.normalized(name) ?? DeviceName.targetName(name) }

    /// The portal groups are a set. What a disk or a library brings along shows at least that.
    static func normalized(_ members: Members, of name: String, present: ISCSITarget.Spec?) -> Members {
        var members = members
        if let groups = members["portalGroups"].flatMap([Int].from) {
            members["portalGroups"] = Set(groups).sorted().json
        }
        if members["units"] == nil, let present {
            members["units"] = ownUnits(of: name, present).json
        }
        return members
    }

    /// The units of the device that brings the target along.
    private static func ownUnits(of name: String, _ spec: ISCSITarget.Spec) -> [Int: String] {
        let device = DeviceName.end(ofTarget: name)
        return spec.units.filter { $0.value == device || $0.value.hasPrefix(device + "/") }
    }

    static func released(_ name: String, _ spec: ISCSITarget.Spec) -> ISCSITarget.Spec {
        var released = spec
        released.access = .closed
        released.groups = [:]
        released.units = ownUnits(of: name, spec)
        released.portalGroups = nil
        return released
    }

    /// The target that a disk or a library brings along.
    static func companion(_ name: String, units: [Int: String]) -> Companion {
        Companion(
            kind: ISCSITarget.description.plural, name: DeviceName.targetName(name),
            spec: ISCSITarget.Spec(units: units).members)
    }

    static func isCompanion(_ name: String, in model: ConfigurationModel) -> Bool {
        guard name.hasPrefix(DeviceName.targetPrefix) else { return false }
        let device = DeviceName.end(ofTarget: name)
        return model[Disk.description.plural, device] != nil || model[Library.description.plural, device] != nil
    }

    static func check(
        _ name: String, _ spec: ISCSITarget.Spec, isNew: Bool, in model: ConfigurationModel, _ plane: ControlPlane
    ) throws(ManagementError) {
        let device = DeviceName.end(ofTarget: name)
        if isCompanion(name, in: model) {
            var own = [0: device]
            for number in 1...max(1, model.spec(Library.self, device)?.drives ?? 1)
            where model.spec(Library.self, device) != nil { own[number] = "\(device)/drive:\(number)" }
            if let lost = own.sorted(by: { $0.key < $1.key }).first(where: { spec.units[$0.key] != $0.value }) {
                throw ManagementError(
                    .invalid,
                    "logical unit \(lost.key), '\(lost.value)', is what target '\(name)' was made for, and stays",
                    field: "units")
            }
        }
        let devices = model.index.devices
        for units in [spec.units] + spec.groups.values.compactMap(\.units) {
            if let missing = units.values.sorted().first(where: { !devices.contains($0) }) {
                throw ManagementError(
                    .invalid, "target '\(name)' shows '\(missing)', which the configuration does not have",
                    field: "units")
            }
        }
        if let group = spec.groups.keys.sorted().first(where: { model[InitiatorGroup.description.plural, $0] == nil }) {
            throw ManagementError(
                .invalid, "target '\(name)' is shown to group '\(group)', which the configuration does not have",
                field: "groups")
        }
        if let text = spec.redirection, let address = try? PortalAddress.parse(text),
            let portal = model.specs(Portal.self).keys.sorted().first(where: {
                (try? PortalAddress.parse($0))?.takesConnections(to: address) == true
            })
        {
            throw ManagementError(
                .invalid,
                "target '\(name)' sends initiators to \(address), which is portal \(portal) of the configuration",
                field: "redirection")
        }
        let tags = model.index.portalGroups
        if let tag = spec.portalGroups?.first(where: { !tags.contains($0) }) {
            throw ManagementError(
                .invalid,
                "target '\(name)' is offered by portal group \(tag), which no portal of the configuration has",
                field: "portalGroups")
        }
    }

    static func make(_ name: String, _ spec: ISCSITarget.Spec, _ plane: ControlPlane) throws(ManagementError) {
        var closed = spec
        closed.access = .closed
        _ = try plane.createTarget(name, closed)
        _ = try plane.changeTarget(name, to: spec, mayWiden: true)
    }

    static func alter(
        _ name: String, from former: ISCSITarget.Spec, to wanted: ISCSITarget.Spec, _ plane: ControlPlane
    ) throws(ManagementError) {
        _ = try plane.changeTarget(name, to: wanted, mayWiden: true)
    }

    static func remove(_ name: String, _ spec: ISCSITarget.Spec, _ plane: ControlPlane) throws(ManagementError) {
        try plane.deleteTarget(name)
    }
}
