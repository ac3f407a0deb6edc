import Foundation
import GRDB
import ManagementTestSupport
import Resources
import Testing

@testable import Management

/// A small kind, as one is written that is no more than a spec.
private enum Note: ResourceKind {
    struct Spec: Resources.Record {
        var text = ""
        var color: String?
        static let fields: [Field<Spec>] = [
            Field("text", \.text, .text(.any("text")), .required, change: .always, help: "Text."),
            Field("color", \.color, .choice(["red", "blue"]), help: "Its colour."),
        ]
    }
    typealias Status = NoFields
    static let description = KindDescription(
        Note.self, "note", "notes", help: "Notes.", naming: .name(.name(of: "note")), verbs: Verb.allCases)
}

private struct NoteDriver: StoredDriver {
    typealias Kind = Note
    let controller: Controller
    init(_ controller: Controller) { self.controller = controller }
}

@Suite("A small kind")
struct StoredDriverTests {
    let fixture: ControllerFixture
    let notes: Endpoint

    init() throws {
        fixture = try ControllerFixture()
        notes = Endpoint(NoteDriver(fixture.controller), fixture.controller)
    }

    @Test("it is made, listed, shown, changed and deleted, with events and generations")
    func life() async throws {
        let made = try await notes.create("n", ["text": "one", "color": "red"])
        #expect(made["spec"] == ["text": "one", "color": "red"] && made["status"] == [:])
        let first = try #require(made["generation"].flatMap(Int64.from))
        let changed = try await notes.change("n", ["text": "two"], expecting: [first])
        #expect(changed["spec"] == ["text": "two", "color": "red"])
        #expect(try await notes.show("n") == changed)
        #expect(try await notes.list(Page()).items == [changed])
        let outdated = await fixture.refusal { try await notes.delete("n", expecting: [first]) }
        #expect(outdated?.code == .outdated)
        let fixed = await fixture.refusal { try await notes.change("n", ["color": "blue"]) }
        #expect(fixed?.code == .invalid)
        let twice = await fixture.refusal { try await notes.create("n", ["text": "x"]) }
        #expect(twice?.message.contains("note 'n' exists already") == true)
        try await notes.delete("n")
        for refusal in [
            await fixture.refusal { try await notes.show("n") },
            await fixture.refusal { try await notes.change("n", [:]) },
            await fixture.refusal { try await notes.delete("n") },
        ] {
            #expect(refusal?.code == .notFound)
            #expect(refusal?.message == "there is no note 'n'; 'carousel note list' shows those there are")
        }
        let events = try await fixture.controller.events(kind: "note")
        #expect(events.map(\.verb) == ["create", "change", "delete"])
        #expect(events[1].old == ["text": "one"] && events[1].new == ["text": "two"])
    }

    @Test("a damaged one says so, can be deleted, and keeps nobody from the others")
    func damage() async throws {
        for name in ["a", "b", "c", "d"] { _ = try await notes.create(name, ["text": .text(name)]) }
        let raw = try DatabaseQueue(path: fixture.path + "/catalog.sqlite")
        try await raw.write { try $0.execute(sql: "UPDATE resource SET spec = '{}' WHERE name IN ('a', 'c')") }
        func names(_ page: Page) async throws -> [String] {
            try await notes.list(page).items.compactMap { $0["name"]?.text }
        }
        #expect(try await names(Page()) == ["b", "d"])
        #expect(try await names(Page(limit: 1)) == ["b"])
        #expect(try await names(Page(after: "b", limit: 1)) == ["d"])
        #expect(try await names(Page(last: 1)) == ["d"])
        let refusal = await fixture.refusal { try await notes.show("a") }
        #expect(refusal?.code == .damaged)
        #expect(refusal?.message.contains("delete it with 'carousel note delete a'") == true)
        #expect(await fixture.refusal { try await notes.change("a", ["text": "x"]) }?.code == .damaged)
        try await notes.delete("a")
        _ = try await notes.create("a", ["text": "new"])
        #expect(try await names(Page()) == ["a", "b", "d"])
    }
}
