internal import Platform

/// Objects in the order of their arrival, each from an origin: to enter, to leave, and to find the oldest of all or of
/// one origin costs the same however many there are.
struct LoginQueue<Element: AnyObject> {
    /// An entry's neighbours in one order; negative where there is none.
    private struct Link {
        var older = -1
        var newer = -1
    }

    private struct Entry {
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

    private var entries: [Entry] = []
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
    var oldest: Element? { all.count > 0 ? entries[all.oldest].element : nil }
    /// The one of `origin` that has been there longest.
    func oldest(from origin: String) -> Element? { lines[origin].flatMap { entries[$0.oldest].element } }

    /// Appends `element`, which is not in the queue, as the newest.
    mutating func append(_ element: Element, from origin: String) {
        precondition(index[ObjectIdentifier(element)] == nil, "an element is in the queue once")
        let position = free.popLast() ?? entries.count
        let entry = Entry(element: element, origin: origin)
        if position == entries.count { entries.append(entry) } else { entries[position] = entry }
        index[ObjectIdentifier(element)] = position
        Self.append(position, to: &all, \.inAll, &entries)
        Self.append(position, to: &lines[origin, default: Line()], \.inOrigin, &entries)
    }

    /// Removes `element`; nothing happens when it is not in the queue.
    mutating func remove(_ element: Element) {
        guard let position = index.removeValue(forKey: ObjectIdentifier(element)) else { return }
        let origin = entries[position].origin
        Self.remove(position, from: &all, \.inAll, &entries)
        if var line = lines[origin] {
            Self.remove(position, from: &line, \.inOrigin, &entries)
            lines[origin] = line.count > 0 ? line : nil
        }
        entries[position].element = nil
        free.append(position)
    }

    private static func append(
        _ position: Int, to line: inout Line, _ link: WritableKeyPath<Entry, Link>, _ entries: inout [Entry]
    ) {
        entries[position][keyPath: link].older = line.newest
        if line.count > 0 { entries[line.newest][keyPath: link].newer = position } else { line.oldest = position }
        line.newest = position
        line.count += 1
    }

    private static func remove(
        _ position: Int, from line: inout Line, _ link: WritableKeyPath<Entry, Link>, _ entries: inout [Entry]
    ) {
        let (older, newer) = (entries[position][keyPath: link].older, entries[position][keyPath: link].newer)
        if older >= 0 { entries[older][keyPath: link].newer = newer } else { line.oldest = newer }
        if newer >= 0 { entries[newer][keyPath: link].older = older } else { line.newest = older }
        line.count -= 1
    }
}

extension SocketAddress {
    /// Who counts as one peer before it has logged in: an IPv4 address, or the first 64 bits of an IPv6 address,
    /// because one host can have all addresses of its link (RFC 4291 section 2.5.4).
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
