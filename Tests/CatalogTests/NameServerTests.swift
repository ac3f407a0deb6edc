import Catalog
import TestSupport
import Testing

@Suite("The iSNS server in the catalog")
struct NameServerTests {
    @Test("it is remembered, replaced and forgotten; nonsense is refused and changes nothing")
    func record() throws {
        let path = TemporaryPath()
        var catalog = try Catalog(path: path.path)
        #expect(try catalog.nameServer() == nil)
        var record = NameServerRecord(
            host: "isns.example.com", port: 3205, controlsAccess: false, entityIdentifier: "carousel-1")
        try catalog.setNameServer(record)
        record.host = "::1"
        record.controlsAccess = true
        try catalog.setNameServer(record)
        try catalog.close()
        catalog = try Catalog(path: path.path)
        #expect(try catalog.nameServer() == record)
        var wrong = record
        wrong.port = 0
        #expect(throws: CatalogError.self) { try catalog.setNameServer(wrong) }
        #expect(try catalog.nameServer() == record)
        try catalog.setNameServer(nil)
        #expect(try catalog.nameServer() == nil)
        try catalog.close()
    }
}
