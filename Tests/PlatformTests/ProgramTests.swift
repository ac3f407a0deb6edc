import Bytes
import Glibc
import Testing

@testable import Platform

@Suite("Programs that are run for what they write")
struct ProgramTests {
    private func run(
        _ words: [String], room: Int = 100, within limit: Duration = .seconds(20)
    ) -> Result<(text: String, status: Int32), SystemError> {
        var bytes = [UInt8](repeating: 0, count: room)
        let outcome: Result<(count: Int, status: Int32), SystemError> = bytes.modifyBytes { bytes in
            do throws(SystemError) {
                return .success(try Program.output(of: words, into: &bytes, within: limit))
            } catch {
                return .failure(error)
            }
        }
        return outcome.map { (String(decoding: bytes.prefix($0.count), as: UTF8.self), $0.status) }
    }

    @Test("Words are arguments as they are; the output and the status come back")
    func output() throws {
        let (text, status) = try run(["/bin/sh", "-c", "printf '%s|' \"$0\" \"$@\"; exit 5", "a b", "$HOME", ""]).get()
        #expect(text == "a b|$HOME||" && status == 5)
        #expect(try run(["/bin/sh", "-c", "echo out; echo error >&2; cat"]).get().text == "out\n")
        #expect(try run(["/bin/sh", "-c", "kill -9 $$"]).get().status == 137)
    }

    @Test("What is no program, ends late or writes too much is told, and ended")
    func failures() throws {
        #expect(throws: SystemError.self) { try run(["/none"]).get() }
        #expect(throws: SystemError.self) { try run([]).get() }
        #expect(try run(["/bin/sh", "-c", "exec cat /dev/zero"]).get().text.utf8.count == 100)
        for script in ["sleep 100", "exec >/dev/null; sleep 100", "sleep 100 & sleep 100"] {
            let late = #expect(throws: SystemError.self) {
                try run(["/bin/sh", "-c", script], within: .milliseconds(200)).get()
            }
            #expect(late?.code == Errno.timedOut)
        }
    }

    @Test("Where children are ignored nobody knows the status; a process that watches signals ignores none")
    func ignoredChildren() async {
        await #expect(processExitsWith: .success) {
            _ = signal(SIGCHLD, SIG_IGN)
            let unknown = ProgramTests().run(["/bin/sh", "-c", "echo key; exit 3"])
            guard case .failure(let error) = unknown, error.code == ECHILD else { exit(1) }
            try Signals.watch([Signals.hangUp]) { _ in }
            guard try ProgramTests().run(["/bin/sh", "-c", "exit 3"]).get().status == 3 else { exit(2) }
        }
    }

    @Test("It has no file of this process, and no signal is blocked or ignored")
    func inheritance() throws {
        // The fourth is the folder that it lists.
        #expect(try run(["/bin/ls", "/proc/self/fd"]).get().text == "0\n1\n2\n3\n")
        let (signals, _) = try run(["/bin/grep", "-E", "Sig(Blk|Ign)", "/proc/self/status"]).get()
        let masks = signals.split(separator: "\n").compactMap { line in
            UInt64(line.split(separator: "\t").last ?? "", radix: 16)
        }
        // The two that glibc has for itself count for nothing.
        #expect(masks.count == 2 && masks.allSatisfy { $0 & ~0x1_8000_0000 == 0 }, "\(signals)")
    }
}
