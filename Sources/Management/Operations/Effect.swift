import Resources

/// What a change does to files and devices. Each effect says so before it begins, and is refused where none may be.
///
/// A transaction of the catalog is one too, but may be refused to its end, and tried again: see the hooks that
/// `ControlPlane` gives to its catalog.
enum Effect {
    /// Refuses the effect that is about to be when the change may not be made: the first one when the thing is not in
    /// the generation that was expected, any one in a dry run.
    static func begin() throws(ManagementError) {
        try Precondition.current?.checkBeforeEffect()
        try DryRun.endBeforeEffect()
        Precondition.current?.settle()
    }
}
