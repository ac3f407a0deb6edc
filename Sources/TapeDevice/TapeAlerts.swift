internal import Platform

/// TapeAlert flags that the drive raises (SSC-5 annex A).
enum TapeAlert: Int, CaseIterable {
    /// The medium cannot be used.
    case media = 4
    /// A block could not be read.
    case readFailure = 5
    /// Data could not be written.
    case writeFailure = 6
}

/// The TapeAlert flags of a drive. Each I_T nexus is told of each activation once (SPC-5 clause 7.3.19).
final class TapeAlerts: Sendable {
    /// A flag's life. Activations are counted, so that a nexus needs to remember only what it was told last.
    private struct Flag {
        var activations: UInt32 = 0
        var isActive = false
        /// Whether any nexus has been told of the last activation.
        var isReported = false
    }

    /// The number of the last activation of each flag; 0 for flags that are inactive.
    struct Activations {
        fileprivate var numbers = InlineArray<3, UInt32>(repeating: 0)

        /// Whether a flag was activated after a nexus was told of `reported`.
        func hasActivated(_ flag: Int, since reported: Activations) -> Bool {
            guard let alert = TapeAlert(rawValue: flag) else { return false }
            let place = TapeAlerts.place(alert)
            return numbers[place] != 0 && numbers[place] != reported.numbers[place]
        }
    }

    private let flags = Lock(InlineArray<3, Flag>(repeating: Flag()))

    private static func place(_ alert: TapeAlert) -> Int { alert.rawValue - TapeAlert.media.rawValue }

    /// Activates a flag. Any thread.
    func raise(_ alert: TapeAlert) {
        flags.withLock { flags in
            let place = Self.place(alert)
            flags[place].activations = max(1, flags[place].activations &+ 1)
            flags[place].isActive = true
            flags[place].isReported = false
        }
    }

    /// The medium has left: its flags are inactive, but for a write failure of which no nexus has been told. The data
    /// of that are lost, and the robot that took the medium does not tell.
    func mediumRemoved() {
        flags.withLock { flags in
            for alert in TapeAlert.allCases {
                let place = Self.place(alert)
                if alert != .writeFailure || flags[place].isReported { flags[place].isActive = false }
            }
        }
    }

    /// The flags that are active now.
    var active: Activations {
        flags.withLock { flags in
            var active = Activations()
            for place in 0..<3 where flags[place].isActive { active.numbers[place] = flags[place].activations }
            return active
        }
    }

    /// Notes that a nexus, which had been told of `reported`, has been sent the flags in `sent` as they were in
    /// `active`.
    func report(_ sent: ClosedRange<UInt16>, of active: Activations, to reported: inout Activations) {
        flags.withLock { flags in
            for alert in TapeAlert.allCases where sent.contains(UInt16(alert.rawValue)) {
                let place = Self.place(alert)
                reported.numbers[place] = active.numbers[place]
                if flags[place].activations == active.numbers[place] { flags[place].isReported = true }
            }
        }
    }
}
