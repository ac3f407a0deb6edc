public import ArgumentParser
public import Initiator

/// The address of a logical unit on the command line.
struct LogicalUnitURL: ExpressibleByArgument {
    let url: ISCSIURL
    let targetName: String
    let logicalUnit: Int

    init?(argument: String) {
        guard let url = ISCSIURL(argument), let name = url.targetName, let unit = url.logicalUnit else { return nil }
        self.url = url
        targetName = name
        logicalUnit = unit
    }

    static let help: ArgumentHelp = "The logical unit, as iscsi://HOST:PORT/TARGET/LUN with a numeric host."
}

/// A length in bytes: a number, or one with KiB, MiB, GiB or TiB.
struct ByteLength: ExpressibleByArgument {
    let bytes: Int

    init(_ bytes: Int) {
        self.bytes = bytes
    }

    init?(argument: String) {
        let units: [(String, Int)] = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40)]
        let unit = units.first { argument.hasSuffix($0.0) }
        guard let number = Int(argument.dropLast(unit?.0.count ?? 0)), number > 0 else { return nil }
        let (bytes, overflow) = number.multipliedReportingOverflow(by: unit?.1 ?? 1)
        guard !overflow else { return nil }
        self.bytes = bytes
    }

    var defaultValueDescription: String {
        for (name, length) in [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)] where bytes % length == 0 {
            return "\(bytes / length)\(name)"
        }
        return String(bytes)
    }
}

extension LoadOperation: ExpressibleByArgument {}
extension LoadPattern: ExpressibleByArgument {}

/// An error for the person at the command line.
struct Complaint: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) {
        self.description = description
    }
}
