import Catalog
import Logging
import Resources

extension ControlPlane {
    /// Takes over the file of secrets as it is now. Where a place has no secrets any more nobody would get in, so that
    /// is refused: a start would keep them out too, but whoever edits the file may not mean it.
    func reloadSecrets() throws(ManagementError) {
        let new = try SecretStore(in: folder, isRemembered: true)
        _ = try settleProposals(of: new)
        let lost = secrets.entries.keys.count { new.entries[$0] == nil }
        guard lost == 0 else {
            throw ManagementError(
                .damaged,
                "\(folder.secretsPath) lacks those of \(Counted.text(lost, "place")), where nobody would get in then; "
                    + "put it back, or forget them with 'carousel chap delete'")
        }
        // Before they are in force, so that the loss of the file opens nothing later.
        try rememberAuthentication(of: new)
        try secrets.replace(with: new)
        try configureFrontEnd()
    }

    /// Takes over the file of tokens as it is now. Where it is damaged or gone, none is good.
    func reloadTokens() {
        tokens.reload()
        if let problem = tokens.problem { logger.error("no token is good", metadata: ["reason": "\(problem)"]) }
    }
}
