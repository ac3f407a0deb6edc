import Foundation
import ManagementTestSupport
import Platform
import Resources
import Testing

@testable import Catalog
@testable import Management

@Suite("Events of the control plane")
struct EventTests {
    let fixture: ControllerFixture

    init() throws { fixture = try ControllerFixture() }

    @Test("what is changed is recorded, with who did it and what was before")
    func changes() async throws {
        try await fixture.controller.createDisk("a", Disk.Spec(size: 4096))
        try await Requester.$current.withValue(.user(id: 7, process: 42)) {
            _ = try await fixture.controller.changeDisk("a", to: Disk.Spec(size: 8192))
            try await fixture.controller.deleteDisk("a")
        }
        let events = try await fixture.controller.events()
        #expect(events.map(\.verb) == ["create", "resize", "delete"])
        #expect(events.allSatisfy { $0.kind == "disk" && $0.name == "a" })
        #expect(events.map(\.actor) == ["daemon", "uid:7 pid:42", "uid:7 pid:42"])
        #expect(events[1].old == ["size": 4096])
        #expect(events[1].new == ["size": 8192])
        #expect(try await fixture.controller.lastEvents(limit: 1).map(\.verb) == ["delete"])
        #expect(try await fixture.controller.events(after: events[1].id).map(\.verb) == ["delete"])
        let coded = try APICoding.decode([EventSummary].self, from: try APICoding.encode(events))
        #expect(coded.map(\.new) == events.map(\.new))
        #expect(await fixture.refusal { try await fixture.controller.events(limit: 0) }?.code == .invalid)
    }

    @Test("cartridges come, move and go with an event each")
    func cartridges() async throws {
        try await fixture.makeLibrary()
        try await Requester.$current.withValue(.user(id: 7, process: 42)) {
            _ = try await fixture.controller.createCartridge("N00001L8", library: "vtl")
            _ = try await fixture.controller.move(
                library: "vtl", Library.Move.Arguments(from: "slot:3", to: "drive:1"))
            try await fixture.controller.deleteCartridge("A00001L8", library: "vtl")
        }
        let events = try await fixture.controller.events(kind: "cartridge")
        #expect(
            events.map { "\($0.verb) \($0.name)" } == [
                "create vtl/N00001L8", "move vtl/N00001L8", "delete vtl/A00001L8",
            ])
        #expect(events.allSatisfy { $0.actor == "uid:7 pid:42" })
        #expect(events[1].old == ["location": "slot:3"])
        #expect(events[1].new == ["location": "drive:1"])
    }

    @Test("moves are shown although the clock is before the library's creation")
    func clockSetBack() async throws {
        try await fixture.makeLibrary()
        _ = try await fixture.controller.move(library: "vtl", Library.Move.Arguments(from: "slot:1", to: "slot:3"))
        await fixture.controller.shutDown()
        fixture.controller.folder.release()
        do {
            let catalog = try Catalog(path: fixture.path + "/catalog.sqlite")
            let library = try #require(try catalog.library(named: "vtl"))
            try catalog.apply(
                [
                    CartridgeMove(
                        barcode: "A00001L8", origin: .element(ElementAddress(kind: .slot, number: 3)),
                        destination: .element(ElementAddress(kind: .slot, number: 4)))
                ], library: library.identity.id, cause: .initiator, time: Date(timeIntervalSinceNow: -1e7))
            try catalog.close()
        }
        let (controller, _) = try ControllerFixture.make(fixture.path)
        #expect(try await controller.moves(library: "vtl").map(\.status.to) == ["slot:4", "slot:3"])
    }

    @Test("a creation that fails is no event")
    func failure() async throws {
        fixture.devices.fail(with: ManagementError(.damaged, "no"))
        #expect(await fixture.refusal { try await fixture.makeLibrary() } != nil)
        fixture.devices.fail(atCartridge: "A00001L8")
        #expect(await fixture.refusal { try await fixture.makeLibrary() } != nil)
        #expect(try await fixture.controller.events().map(\.verb).allSatisfy { $0 != "move" })
    }

    @Test("those who follow get events in order; one that is too slow is ended, and so are all when the daemon stops")
    func following() async throws {
        let feed = EventFeed()
        var followers: [EventFeed.Stream] = []
        for _ in 0..<EventFeed.maximumFollowers { followers.append(try feed.follow()) }
        #expect(throws: ManagementError.self) { try feed.follow() }
        let records = (1...EventFeed.bufferLength + 1).map { number in
            EventRecord(
                id: Int64(number), time: Date(), actor: "daemon", kind: "disk", name: "d\(number)", verb: "create",
                old: nil, new: nil)
        }
        feed.publish(records)
        var seen: [Int64] = []
        await #expect(throws: ManagementError.self) {
            for try await case .event(let event) in followers[0] { seen.append(event.id) }
        }
        #expect(seen == records.dropLast().map(\.id))
        #expect(feed.followerCount == 0)
        feed.end()
        #expect(throws: ManagementError.self) { try feed.follow() }
    }

    @Test("those who follow get what came before and what comes, once and in order, however slowly they read")
    func resuming() async throws {
        let controller = fixture.controller
        for name in ["a", "b", "c"] { try await controller.createDisk(name, Disk.Spec(size: 4096)) }
        let first = try #require(try await controller.events().first)
        let all = try await controller.followEvents(after: first.id)
        let later = try await controller.followEvents()
        let disks = try await controller.followEvents(after: 0, kind: "disk", name: "b")
        try await fixture.makeLibrary()
        // More than the feed lets lie.
        for _ in 0...EventFeed.bufferLength {
            try controller.plane.query { () throws(CatalogError) in
                try controller.plane.catalog.record(controller.plane.event("change", "disk", "b"))
            }
        }
        func names(_ events: FollowedEvents, _ count: Int) async throws -> [String] {
            var names: [String] = []
            for try await case .event(let event) in events {
                names.append("\(event.verb) \(event.name)")
                if names.count == count { break }
            }
            return names
        }
        let many = Array(repeating: "change b", count: EventFeed.bufferLength + 1)
        #expect(try await names(all, many.count + 3) == ["create b", "create c", "create vtl"] + many)
        #expect(try await names(later, many.count + 1) == ["create vtl"] + many)
        #expect(try await names(disks, many.count + 1) == ["create b"] + many)
        let beats = try await controller.followEvents(heartbeat: .milliseconds(1))
        for try await event in beats {
            #expect(event == .silence)
            break
        }
        let last = try await controller.followEvents()
        try await controller.createDisk("z", Disk.Spec(size: 4096))
        await controller.shutDown()
        var ends = last.makeAsyncIterator()
        await #expect(throws: ManagementError.self) { while try await ends.next() != nil {} }
    }

    @Test("the reserve gives its room once, and takes it again when nobody uses it")
    func reserve() throws {
        let path = fixture.path + "/reserve"
        func length() throws -> Int64 { try FileStatus.of(path).length }
        #expect(try length() == Int64(SpaceReserve.length))
        let reserve = SpaceReserve(path: path)
        var count = 0
        reserve.lend {
            count += 1
            #expect(throws: Never.self) { try #expect(length() == 0) }
            // Another change ends meanwhile, and one more needs room.
            reserve.restore()
            #expect(throws: Never.self) { try #expect(length() == 0) }
            reserve.lend { count += 1 }
        }
        reserve.lend { count += 1 }
        SpaceReserve(path: path).lend { count += 1 }
        #expect(count == 2)
        reserve.restore()
        #expect(try length() == Int64(SpaceReserve.length))
        SpaceReserve(path: path).lend { count += 1 }
        #expect(count == 3)
    }

    @Test("a deletion that the system refuses is tried again with the room of the reserve")
    func deletionWithReserve() async throws {
        let fails = Lock(false)
        let fixture = try ControllerFixture { path throws(ManagementError) in
            let isNow = fails.withLock { fails in
                defer { if path.hasSuffix(".img") { fails = false } }
                return fails && path.hasSuffix(".img")
            }
            if isNow { throw ManagementError(.system, "no space") }
        }
        try await fixture.controller.createDisk("a", Disk.Spec(size: 4096))
        fails.withLock { $0 = true }
        try await fixture.controller.deleteDisk("a")
        #expect(try await fixture.controller.disks().isEmpty)
        #expect(try FileStatus.of(fixture.path + "/reserve").length == Int64(SpaceReserve.length))
        #expect(fixture.files().allSatisfy { !$0.hasSuffix(".img") })
    }
}
