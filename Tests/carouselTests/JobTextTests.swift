import Resources
import Testing

@testable import carousel

@Suite("What people read of jobs")
struct JobTextTests {
    private func job(_ status: [String: JSONValue]) -> JSONValue {
        ["name": "7", "spec": [:], "status": .object(status)]
    }

    @Test("one line says what is done, how fast, and how long the rest takes, in as much room as there is")
    func progress() {
        let running = job([
            "work": "create library big", "state": "running", "done": 1200, "total": 4800, "unit": "cartridges",
            "progress": "1200 of 4800 cartridges", "rate": .number(120.7), "remaining": 200,
        ])
        let line = "create library big  [#####               ]  25 %  1200 of 4800 cartridges  120 /s  3 min 20 s left"
        #expect(JobText.progress(running, columns: 200) == line)
        #expect(JobText.progress(running, columns: 30) == String(line.prefix(30)))
        let bytes = job([
            "work": "check everything", "state": "running", "done": 1, "total": 2, "unit": "bytes",
            "progress": "1 B of 2 B", "rate": .number(3_700_000),
        ])
        #expect(JobText.progress(bytes, columns: 200).hasSuffix("50 %  1 B of 2 B  3 MiB/s"))
        let waiting = job(["work": "delete library big", "state": "waiting", "done": 0, "total": 9])
        #expect(JobText.progress(waiting, columns: 200) == "delete library big  waits for its turn")
        let begun = job(["work": "check everything", "state": "running", "done": 0, "total": 0])
        #expect(JobText.progress(begun, columns: 200) == "check everything")
    }

    @Test("nothing in it commands the terminal")
    func escaped() {
        let named = job(["work": "check media \u{1B}[2J", "state": "running", "done": 0, "total": 0])
        #expect(!JobText.progress(named, columns: 200).contains("\u{1B}"))
    }

    @Test("times have two units", arguments: [(0, "0 s"), (59, "59 s"), (60, "1 min 0 s"), (7500, "2 h 5 min")])
    func durations(seconds: Int, text: String) { #expect(JobText.duration(Int64(seconds)) == text) }

    @Test("Ctrl-C says how to go on and how to end the job")
    func farewell() {
        let sentence = JobFollower.farewell(job(["work": "check everything"]))
        #expect(sentence.contains("job 7, check everything, goes on"))
        #expect(sentence.contains("'carousel job wait 7'") && sentence.contains("'carousel job cancel 7'"))
    }
}
