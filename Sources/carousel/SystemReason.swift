import Management

/// What the system said, in a few words.
enum SystemReason {
    /// The reason of an error of a file.
    static func text(_ error: any Error) -> String { StateFolder.reason(error) }
}
