import ArgumentParser
import Console
import Management
import Resources
import Testing

@testable import carousel

@Suite("Exit statuses")
struct ExitStatusTests {
    @Test(
        "a refusal ends as the help of 'carousel' says",
        arguments: [
            (.invalid, .usage), (.notFound, .refused), (.conflict, .refused), (.inUse, .refused),
            (.damaged, .dataError), (.system, .systemError), (.internal, .software),
        ] as [(ManagementError.Code, carousel.ExitStatus)])
    func refusals(code: ManagementError.Code, status: carousel.ExitStatus) {
        let error = ManagementError(code, "no")
        #expect(CommandFailure(.refused(error)).status == status)
        let isInUse = code == .conflict || code == .inUse
        #expect(CommandFailure(starting: error).status == (isInUse ? .temporaryFailure : status))
        #expect(CommandFailure(.invalid(error)).status == .usage)
        #expect(CommandFailure(.unreachable("gone")).status == .unavailable)
        #expect(CommandFailure(.notUnderstood("what")).status == .software)
    }

    @Test("the help of 'carousel' names every status")
    func help() {
        let help = Carousel.helpMessage(columns: 1000)
        for status: carousel.ExitStatus in [
            .refused, .usage, .dataError, .unavailable, .software, .systemError, .notWrittenOut, .temporaryFailure,
        ] {
            #expect(help.contains(" \(status.rawValue) "), "\(status)")
        }
    }
}
