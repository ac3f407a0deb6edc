/// What the doctor says of one thing.
struct DoctorFinding: Codable, Hashable {
    enum Level: String, Codable {
        case ok
        /// It works, but not as well as it could, or not for long.
        case warning
        /// Something does not work.
        case problem
    }

    let level: Level
    /// What was looked at: `state folder`.
    let subject: String
    /// What was found, and what to do about it where it is not well.
    let sentence: String

    static func ok(_ subject: String, _ sentence: String) -> DoctorFinding {
        DoctorFinding(level: .ok, subject: subject, sentence: sentence)
    }
    static func warning(_ subject: String, _ sentence: String) -> DoctorFinding {
        DoctorFinding(level: .warning, subject: subject, sentence: sentence)
    }
    static func problem(_ subject: String, _ sentence: String) -> DoctorFinding {
        DoctorFinding(level: .problem, subject: subject, sentence: sentence)
    }
}
