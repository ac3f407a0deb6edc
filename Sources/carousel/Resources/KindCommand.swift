import ArgumentParser
import Management
import Resources

/// `carousel KIND …`: the verbs and actions of one kind, from its table.
struct KindCommand<Kind: ResourceKind>: AsyncParsableCommand {
    static var configuration: CommandConfiguration {
        let kind = Kind.description
        return CommandConfiguration(
            commandName: kind.command, abstract: kind.help, discussion: kind.discussion,
            subcommands: kind.verbs.map(verb) + Kind.actions.map { action($0) })
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
    static var all: [any ParsableCommand.Type] { Registry.kinds.map { command($0) } }

    private static func command<Kind: ResourceKind>(_ kind: Kind.Type) -> any ParsableCommand.Type {
        KindCommand<Kind>.self
    }
}
