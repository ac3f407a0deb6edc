import Catalog
import Resources

// The order in which cartridges get to their homes: each place is empty when its cartridge comes.
extension ControlPlane {
    /// A cartridge on its way.
    private struct Journey {
        let name: String
        /// Nil for a new one.
        let former: Members?
        let wanted: Members
        /// Where it is, and where it is to be; nil when anywhere will do.
        var place: String?
        let home: String?

        /// Where it is to be, if nothing else can be there then.
        var element: String? {
            guard let home, home != "vault" else { return nil }
            return ControlPlane.element(home, of: name)
        }

        /// Whether it is in the way of others, and can go to the vault meanwhile.
        var canMakeWay: Bool { former != nil && place != nil && place != "vault" }
    }

    /// The steps that make new cartridges and bring all to their homes, and those that are deleted out of the way.
    func placements(
        from origin: ConfigurationModel, to wanted: ConfigurationModel
    ) throws(ManagementError) -> [ConfigurationStep] {
        let plural = Cartridge.description.plural
        let (before, after) = (origin.things[plural] ?? [:], wanted.things[plural] ?? [:])
        var steps: [ConfigurationStep] = []
        var taken: [String: String] = [:]
        for (name, members) in before {
            if let place = members["home"]?.text, place != "vault" { taken[Self.element(place, of: name)] = name }
        }
        var journeys: [Journey] = []
        for (name, members) in before.sorted(by: { $0.key < $1.key }) {
            guard let new = after[name] else {
                // Its library stays: so it has to leave its place to others before it goes.
                guard wanted[Library.description.plural, Self.library(of: name)] != nil else { continue }
                if members["home"] != "vault" {
                    try checkIsNotLoaded(name, "be deleted")
                    journeys.append(
                        Journey(
                            name: name, former: members, wanted: Self.placed(members, in: "vault"),
                            place: members["home"]?.text, home: "vault"))
                }
                continue
            }
            guard new != members else { continue }
            try checkIsNotLoaded(name, "get another home")
            journeys.append(
                Journey(
                    name: name, former: members, wanted: new, place: members["home"]?.text, home: new["home"]?.text))
        }
        for (name, members) in after.sorted(by: { $0.key < $1.key }) where before[name] == nil {
            journeys.append(
                Journey(name: name, former: nil, wanted: members, place: nil, home: members["home"]?.text))
        }
        // Those that may be anywhere come last, to what is left.
        let strays = journeys.filter { $0.home == nil }
        journeys.removeAll { $0.home == nil }
        // Each goes when its home is empty, those that can in the order of their names; who waits for a place is found
        // by the place.
        var waiting: [String: [Int]] = [:]
        var ready: [Int] = []
        for (index, journey) in journeys.enumerated() {
            if let home = journey.element, taken[home] ?? journey.name != journey.name {
                waiting[home, default: []].append(index)
            } else {
                ready.append(index)
            }
        }
        var isDone = Array(repeating: false, count: journeys.count)
        var (next, firstLeft) = (0, 0)
        func leave(_ place: String?, _ name: String) {
            guard let place else { return }
            let element = Self.element(place, of: name)
            taken[element] = nil
            ready += waiting.removeValue(forKey: element) ?? []
        }
        while true {
            if next < ready.count {
                let index = ready[next]
                next += 1
                var journey = journeys[index]
                if let home = journey.element {
                    guard taken[home] ?? journey.name == journey.name else {
                        waiting[home, default: []].append(index)
                        continue
                    }
                    taken[home] = journey.name
                }
                isDone[index] = true
                // As an import puts it there: nothing is kept for it then that others may want.
                let place = journey.place
                if journey.home?.hasPrefix(ElementKind.mail.rawValue) == true, let place, place != "vault",
                    let former = journey.former
                {
                    steps.append(
                        ConfigurationStep(
                            verb: .change, kind: plural, name: journey.name, former: Self.placed(former, in: place),
                            wanted: Self.placed(former, in: "vault"), isDetour: true))
                    journey.place = "vault"
                }
                steps.append(
                    ConfigurationStep(
                        verb: journey.former == nil ? .create : .change, kind: plural, name: journey.name,
                        former: journey.former.map { Self.placed($0, in: journey.place) }, wanted: journey.wanted,
                        isDetour: after[journey.name] == nil))
                if place != "vault", place != journey.home { leave(place, journey.name) }
                continue
            }
            // They wait for each other in a circle, or for one that stays.
            while firstLeft < journeys.count, isDone[firstLeft] || !journeys[firstLeft].canMakeWay { firstLeft += 1 }
            guard firstLeft < journeys.count, let former = journeys[firstLeft].former else { break }
            let (name, place) = (journeys[firstLeft].name, journeys[firstLeft].place)
            steps.append(
                ConfigurationStep(
                    verb: .change, kind: plural, name: name, former: Self.placed(former, in: place),
                    wanted: Self.placed(former, in: "vault"), isDetour: true))
            journeys[firstLeft].place = "vault"
            leave(place, name)
        }
        if let stuck = isDone.firstIndex(of: false) {
            let (name, home) = (journeys[stuck].name, journeys[stuck].home ?? "")
            throw ManagementError(
                .conflict,
                "cartridge '\(name)' has its home in \(home), which cartridge "
                    + "'\(taken[Self.element(home, of: name)] ?? "?")' has already; give one of them another",
                field: "home")
        }
        return steps
            + strays.map {
                ConfigurationStep(
                    verb: $0.former == nil ? .create : .change, kind: plural, name: $0.name, former: $0.former,
                    wanted: $0.wanted)
            }
    }

    private func checkIsNotLoaded(_ name: String, _ deed: String) throws(ManagementError) {
        let (libraryName, barcode) = CartridgeDriver.parts(name)
        let library = try libraryRecord(libraryName)
        guard let element = try cartridgeRecord(barcode, library: library).location.element, element.kind == .drive
        else { return }
        throw ManagementError(
            .inUse,
            "cartridge '\(name)' is in \(element) and cannot \(deed); move it to a slot first, with 'carousel library "
                + "move \(libraryName) \(element) slot:N'")
    }

    private static func library(of name: String) -> String { CartridgeDriver.parts(name).library }

    /// A place of a library, whatever the library of the cartridge.
    private static func element(_ place: String, of name: String) -> String { "\(library(of: name))/\(place)" }

    private static func placed(_ members: Members, in place: String?) -> Members {
        var members = members
        members["home"] = place.map { .text($0) }
        return members
    }
}
