import Foundation

/// How much of what has no end is tried: seeds of random sequences, places of failures.
public enum Effort {
    /// Whether `Tools/test --all` asks, which may take hours.
    public static let isFull = ProcessInfo.processInfo.environment["CAROUSEL_TEST_ALL"] != nil

    /// `full` seeds with `--all`, and else the first `few` of them.
    public static func seeds(_ full: UInt64, few: UInt64) -> ClosedRange<UInt64> { 1...(isFull ? full : few) }

    /// Whether the place `number` of many has its turn: with `--all` each, and else each third, from another one on for
    /// each `salt`.
    public static func includes(_ number: Int, salt: Int) -> Bool { isFull || (number + salt) % 3 == 0 }
}
