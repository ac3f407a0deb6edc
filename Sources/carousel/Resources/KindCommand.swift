import ArgumentParser
import Management
import Resources

/// `carousel KIND …`: the verbs and actions of one kind, from its table.
struct KindCommand<Kind: ResourceKind>: AsyncParsableCommand {
    static var configuration: CommandConfiguration {
        let kind = Kind.description
        let own = KindCommands.own(kind)
        return CommandConfiguration(
            commandName: kind.command, abstract: kind.help, discussion: kind.discussion,
            subcommands: kind.verbs.map { own.verbs[$0] ?? verb($0) }
                + Kind.actions.compactMap { own.actions[$0.description.name] ?? action($0) } + own.others,
            defaultSubcommand: own.usual.flatMap { own.verbs[$0] }, aliases: own.aliases)
    }

    private static func verb(_ verb: Verb) -> any ParsableCommand.Type {
        switch verb {
        case .list: ListCommand<Kind>.self
        case .show: ShowCommand<Kind>.self
        case .create: CreateCommand<Kind>.self
        case .set: SetCommand<Kind>.self
        case .delete: DeleteCommand<Kind>.self
        }
    }

    private static func action<Action: ResourceAction>(_ type: Action.Type) -> any ParsableCommand.Type {
        switch Action.description.subject {
        case .thing: ActionCommand<Action>.self
        case .kind: KindActionCommand<Action>.self
        case .either: SelectionCommand<Action>.self
        }
    }
}

/// The commands of the kinds that have tables.
enum KindCommands {
    /// What a kind has besides the commands that follow from its table.
    struct Own {
        /// Other names of its command.
        var aliases: [String] = []
        /// Commands for verbs in place of those for all kinds.
        var verbs: [Verb: any ParsableCommand.Type] = [:]
        /// Commands for actions in place of those for all kinds; nil for those that are asked for in another way.
        var actions: [String: (any ParsableCommand.Type)?] = [:]
        /// The verb that is meant where none is given.
        var usual: Verb?
        var others: [any ParsableCommand.Type] = []
    }

    static func own(_ kind: KindDescription) -> Own {
        switch kind.plural {
        case Event.description.plural: Own(aliases: [kind.plural], verbs: [.list: EventList.self], usual: .list)
        case Disk.description.plural:
            Own(
                verbs: [.list: DiskList.self],
                actions: [
                    Disk.Copy.name: DiskCopy.self, Disk.Export.name: DiskExport.self, Disk.Import.name: DiskImport.self,
                ], others: [DiskClone.self])
        case Snapshot.description.plural:
            Own(
                verbs: [.list: SnapshotList.self, .create: SnapshotCreate.self, .delete: SnapshotDelete.self],
                actions: [
                    Snapshot.Take.name: nil, Snapshot.Clone.name: nil, Snapshot.Map.name: SnapshotMap.self,
                    Snapshot.Rollback.name: SnapshotRollback.self, Snapshot.Compare.name: SnapshotDiff.self,
                ])
        case DaemonJob.description.plural: Own(others: [JobWait.self])
        case AccessState.description.plural: Own(verbs: [.list: AccessStateList.self])
        default: Own()
        }
    }

    static var all: [any ParsableCommand.Type] { Registry.kinds.map { command($0) } }

    private static func command<Kind: ResourceKind>(_ kind: Kind.Type) -> any ParsableCommand.Type {
        KindCommand<Kind>.self
    }
}
