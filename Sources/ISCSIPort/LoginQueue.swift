internal import Platform

/// Objects in the order of their arrival, each from an origin: to enter, to leave, and to find the oldest of all or of one origin
/// costs the same however many there are.
struct LoginQueue<Element: AnyObject> {
    /// A place's neighbours in one order; negative where there is none.
    private struct Link {
        var older = -1
        var newer = -1
    }

    private struct Place {
        var element: Element?
        var origin: String
        var inAll = Link()
        var inOrigin = Link()
    }

    private struct Line {
        var oldest = -1
        var newest = -1
        var count = 0
    }

    private var places: [Place] = []
    private var free: [Int] = []
    private var index: [ObjectIdentifier: Int] = [:]
    private var all = Line()
    private var lines: [String: Line] = [:]

    /// How many there are.
    var count: Int { all.count }
    /// How many have come from `origin`.
    func count(from origin: String) -> Int { lines[origin]?.count ?? 0 }
    /// How many origins there are.
    var originCount: Int { lines.count }

    /// The one that has been there longest.
    var oldest: Element? { all.count > 0 ? places[all.oldest].element : nil }
    /// The one of `origin` that has been there longest.
    func oldest(from origin: String) -> Element? { lines[origin].flatMap { places[$0.oldest].element } }

    /// Lets `element`, which is not in the queue, enter as the newest.
    mutating func append(_ element: Element, from origin: String) {
        precondition(index[ObjectIdentifier(element)] == nil, "an element is in the queue once")
        let place = free.popLast() ?? places.count
        let entry = Place(element: element, origin: origin)
        if place == places.count { places.append(entry) } else { places[place] = entry }
        index[ObjectIdentifier(element)] = place
        Self.append(place, to: &all, \.inAll, &places)
        Self.append(place, to: &lines[origin, default: Line()], \.inOrigin, &places)
    }

    /// Lets `element` leave; nothing happens when it is not in the queue.
    mutating func remove(_ element: Element) {
        guard let place = index.removeValue(forKey: ObjectIdentifier(element)) else { return }
        let origin = places[place].origin
        Self.remove(place, from: &all, \.inAll, &places)
        if var line = lines[origin] {
            Self.remove(place, from: &line, \.inOrigin, &places)
            lines[origin] = line.count > 0 ? line : nil
        }
        places[place].element = nil
        free.append(place)
    }

    private static func append(
        _ place: Int, to line: inout Line, _ link: WritableKeyPath<Place, Link>, _ places: inout [Place]
    ) {
        places[place][keyPath: link].older = line.newest
        if line.count > 0 { places[line.newest][keyPath: link].newer = place } else { line.oldest = place }
        line.newest = place
        line.count += 1
    }

    private static func remove(
        _ place: Int, from line: inout Line, _ link: WritableKeyPath<Place, Link>, _ places: inout [Place]
    ) {
        let (older, newer) = (places[place][keyPath: link].older, places[place][keyPath: link].newer)
        if older >= 0 { places[older][keyPath: link].newer = newer } else { line.oldest = newer }
        if newer >= 0 { places[newer][keyPath: link].older = older } else { line.newest = older }
        line.count -= 1
    }
}

extension SocketAddress {
    /// Who counts as one peer before it has logged in: an IPv4 address, or the first 64 bits of an IPv6 address, because one host
    /// can have all addresses of its link (RFC 4291 section 2.5.4).
    var loginOrigin: String {
        guard isIPv6, !host.contains(".") else { return host }
        let groups = { (text: Substring) in text.split(separator: ":").map(String.init) }
        let address = host.prefix { $0 != "%" }
        guard let gap = address.firstRange(of: "::") else {
            return groups(address).prefix(4).joined(separator: ":")
        }
        let (head, tail) = (groups(address[..<gap.lowerBound]), groups(address[gap.upperBound...]))
        let zeros = Array(repeating: "0", count: max(0, 8 - head.count - tail.count))
        return (head + zeros + tail).prefix(4).joined(separator: ":")
    }
}
