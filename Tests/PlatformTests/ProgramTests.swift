import Bytes
import Glibc
import Testing

@testable import Platform

@Suite("Programs that are run for what they write")
struct ProgramTests {
    private func run(
        _ words: [String], room: Int = 100, within limit: Duration = .seconds(20)
    ) -> Result<(text: String, ending: Program.Ending, errors: String), SystemError> {
        var bytes = [UInt8](repeating: 0, count: room)
        let outcome: Result<Program.Outcome, SystemError> = bytes.modifyBytes { bytes in
            do throws(SystemError) {
                return .success(try Program.output(of: words, into: &bytes, within: limit))
            } catch {
                return .failure(error)
            }
        }
        return outcome.map { (String(decoding: bytes.prefix($0.count), as: UTF8.self), $0.ending, $0.errors) }
    }

    @Test("Words are arguments as they are; the output and the status come back")
    func output() throws {
        let words = ["/bin/sh", "-c", "printf '%s|' \"$0\" \"$@\"; exit 5", "a b", "$HOME", ""]
        let (text, ending, errors) = try run(words).get()
        #expect(text == "a b|$HOME||" && ending == .exited(5) && errors.isEmpty)
        #expect(try run(["/bin/sh", "-c", "kill -9 $$"]).get().ending == .signal(9))
        #expect(Program.name(ofSignal: 9) == "SIGKILL" && Program.name(ofSignal: 40) == "signal 40")
    }

    @Test("The end of the standard error comes back, beside the output, however much and however late it is")
    func errors() throws {
        let (text, _, errors) = try run(["/bin/sh", "-c", "echo out; echo error >&2; cat"]).get()
        #expect(text == "out\n" && errors == "error\n")
        // More than a pipe takes, before there is any output, and after its end.
        let much = "head -c 300000 /dev/zero >&2; echo first >&2; echo out; exec >&-; head -c 300000 /dev/zero >&2"
        let long = try run(["/bin/sh", "-c", much + "; echo last >&2; exit 4"]).get()
        #expect(long.text == "out\n" && long.ending == .exited(4))
        #expect(long.errors.utf8.count == Program.errorLimit && long.errors.hasSuffix("\0last\n"))
        // Neither one who keeps it open nor one who writes to it for ever is waited for.
        let kept = try run(["/bin/sh", "-c", "sleep 3 >&- & echo kept >&2"], within: .seconds(2)).get()
        #expect(kept.ending == .exited(0) && kept.errors == "kept\n")
        let late = try run(["/bin/sh", "-c", "while :; do echo on >&2; done"], within: .milliseconds(200)).get()
        #expect(late.ending == .late && late.errors.hasSuffix("on\n"))
    }

    @Test("What is no program, ends late or writes too much is told, and ended")
    func failures() throws {
        #expect(throws: SystemError.self) { try run(["/none"]).get() }
        #expect(throws: SystemError.self) { try run([]).get() }
        #expect(try run(["/bin/sh", "-c", "exec cat /dev/zero"]).get().text.utf8.count == 100)
        for script in ["sleep 100", "exec >/dev/null; sleep 100", "sleep 100 & sleep 100"] {
            #expect(try run(["/bin/sh", "-c", script], within: .milliseconds(200)).get().ending == .late)
        }
    }

    @Test("One that is followed tells on its way, and ends when its observer says so")
    func follow() throws {
        var said: [UInt8] = []
        let script = "echo out; echo error >&2; sleep 3 & exit 4"
        let ending = try Program.follow(["/bin/sh", "-c", script]) { bytes in
            said += bytes
            return true
        }
        #expect(ending == .exited(4) && String(decoding: said, as: UTF8.self) == "out\nerror\n")
        var looks = 0
        for script in ["sleep 100", "exec >/dev/null 2>&1; sleep 100", "while :; do echo on; done"] {
            let ending = try Program.follow(["/bin/sh", "-c", script]) { _ in
                looks += 1
                return looks % 3 != 0
            }
            #expect(ending == .signal(SIGKILL))
        }
        #expect(throws: SystemError.self) { try Program.follow(["/none"]) { _ in true } }
    }

    @Test("Where children are ignored nobody knows the status; a process that watches signals ignores none")
    func ignoredChildren() async {
        await #expect(processExitsWith: .success) {
            _ = signal(SIGCHLD, SIG_IGN)
            let unknown = ProgramTests().run(["/bin/sh", "-c", "echo key; exit 3"])
            guard case .failure(let error) = unknown, error.code == ECHILD else { exit(1) }
            try Signals.watch([Signals.hangUp]) { _ in }
            guard try ProgramTests().run(["/bin/sh", "-c", "exit 3"]).get().ending == .exited(3) else { exit(2) }
        }
    }

    @Test("It has no file of this process, and no signal is blocked or ignored")
    func inheritance() throws {
        // The fourth is the folder that it lists.
        #expect(try run(["/bin/ls", "/proc/self/fd"]).get().text == "0\n1\n2\n3\n")
        let (signals, _, _) = try run(["/bin/grep", "-E", "Sig(Blk|Ign)", "/proc/self/status"]).get()
        let masks = signals.split(separator: "\n").compactMap { line in
            UInt64(line.split(separator: "\t").last ?? "", radix: 16)
        }
        // The two that glibc has for itself count for nothing.
        #expect(masks.count == 2 && masks.allSatisfy { $0 & ~0x1_8000_0000 == 0 }, "\(signals)")
    }
}
