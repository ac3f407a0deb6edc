import Management

/// Names of files and folders on the command line.
enum PathArgument {
    /// The absolute name of what `text` names; refused when it is empty, which would be the present folder.
    static func absolute(_ text: String, _ what: String) throws(CommandFailure) -> String {
        guard !text.isEmpty else {
            throw CommandFailure(.usage, "'' is no name for \(what); give one that is not empty")
        }
        return StateFolder.absolute(text)
    }
}
