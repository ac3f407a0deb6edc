/// Objects by logical unit number: a lookup costs the same for every number, and room is taken for the used ranges
/// only.
struct LogicalUnitTable<Element: AnyObject> {
    private static var chunkBits: Int { 6 }
    private static var chunkLength: Int { 1 << chunkBits }

    /// Ranges of numbers; one without elements that was never used is empty.
    private var chunks: [[Element?]] = []
    /// How many elements there are.
    private(set) var count = 0

    /// The element at `number`, which is not negative.
    subscript(number: Int) -> Element? {
        get {
            let chunk = number >> Self.chunkBits
            guard chunk < chunks.count, !chunks[chunk].isEmpty else { return nil }
            return chunks[chunk][number & (Self.chunkLength - 1)]
        }
        set {
            let chunk = number >> Self.chunkBits
            if newValue != nil {
                while chunks.count <= chunk { chunks.append([]) }
                if chunks[chunk].isEmpty { chunks[chunk] = Array(repeating: nil, count: Self.chunkLength) }
            } else if chunk >= chunks.count || chunks[chunk].isEmpty {
                return
            }
            let index = number & (Self.chunkLength - 1)
            count += (newValue == nil ? 0 : 1) - (chunks[chunk][index] == nil ? 0 : 1)
            chunks[chunk][index] = newValue
        }
    }

    /// No element has this number or one above it.
    var end: Int { chunks.count << Self.chunkBits }

    /// How many elements there is room for: a measure of the memory.
    var capacity: Int { chunks.reduce(0) { $0 + $1.count } }

    /// Calls `body` with the elements in the order of their numbers, until it answers false.
    func forEach(while body: (Int, Element) -> Bool) {
        for (chunk, elements) in chunks.enumerated() {
            for (index, element) in elements.enumerated() {
                guard let element else { continue }
                guard body(chunk << Self.chunkBits | index, element) else { return }
            }
        }
    }

    /// Calls `body` with all elements in the order of their numbers.
    func forEach(_ body: (Element) -> Void) {
        forEach { _, element in
            body(element)
            return true
        }
    }
}
