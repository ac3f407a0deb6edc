import Bytes
import Foundation
import Logging
import ManagementTestSupport
import Platform
import Resources
import Testing

@testable import Management

@Suite("Pages of buffers")
struct BufferPagesTests {
    @Test("What differs from what was chosen is told in a sentence; what does not is not")
    func sentences() {
        func sentence(_ chosen: PageChoice, _ got: PageChoice, _ setting: String = "always [madvise] never") -> String?
        {
            BufferPages.sentence(chosen: chosen, got: got, setting: setting)
        }
        #expect(sentence(.standard, .standard) == nil)
        #expect(sentence(.transparent, .transparent) == nil)
        #expect(sentence(.reserved, .reserved) == nil)
        #expect(sentence(.reserved, .reserved, "always madvise [never]") == nil)
        #expect(sentence(.reserved, .transparent)?.contains("made of transparent huge pages") == true)
        #expect(sentence(.reserved, .transparent, "always madvise [never]")?.contains("made of standard pages") == true)
        #expect(sentence(.reserved, .standard)?.contains("vm.nr_hugepages") == true)
        #expect(sentence(.transparent, .standard)?.contains("made of standard pages") == true)
        #expect(sentence(.transparent, .transparent, "always madvise [never]")?.contains("must say madvise") == true)
    }

    @Test("A daemon serves with any choice, and warns once at most", arguments: PageChoice.allCases)
    func serving(choice: PageChoice) async throws {
        let path = NSTemporaryDirectory() + "carousel-\(UUID().uuidString.prefix(8))"
        defer { try? FileManager.default.removeItem(atPath: path) }
        let warnings = Lock<[String]>([])
        let logger = Logger.collecting(.warning) { line in warnings.withLock { $0.append(line) } }
        try await serveDevices(at: path, logger: logger, bufferPages: choice) { controller, devices in
            try await controller.createDisk("a", Disk.Spec(size: 1 << 20))
            let got = devices.reactors.map { reactor in
                let outcome = Outcome<[PageChoice]>()
                reactor.post { outcome.set(reactor.pool.arena.regions.map(\.pages)) }
                return outcome.wait(atMost: .seconds(10)) ?? []
            }
            // Those that are not standard have mapped a region before anybody came.
            #expect(got.allSatisfy { $0.count == (choice == .standard ? 0 : 1) })
        }
        let told = warnings.withLock { $0 }.filter { $0.contains("buffers are made of") }
        #expect(told.count <= 1)
        if choice == .standard { #expect(told.isEmpty) }
    }
}
