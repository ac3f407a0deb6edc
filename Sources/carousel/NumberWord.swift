import ArgumentParser
import Resources

/// A number of a command line, as it was typed: it is read as all numbers are, and not as Swift reads `010` and `+5`.
struct NumberWord: ExpressibleByArgument {
    private let word: String

    init(argument: String) { word = argument }

    /// A default.
    init(_ number: Int) { word = "\(number)" }

    var defaultValueDescription: String { word }

    /// The number, which is given for `what`.
    func number(for what: String) throws(CommandFailure) -> Int {
        try parsing { () throws(ManagementError) in try PlainNumber.number(word, for: what, in: Int.min...Int.max) }
    }

    /// The number, which may have digits after a point.
    func decimal(for what: String) throws(CommandFailure) -> Double {
        try parsing { () throws(ManagementError) in try PlainNumber.decimal(word, for: what) }
    }
}
