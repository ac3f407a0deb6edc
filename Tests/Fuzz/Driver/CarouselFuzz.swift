import CFuzzer
import Foundation
import FuzzTargets

/// libFuzzer with the target that the environment variable CAROUSEL_FUZZ_TARGET names (libFuzzer starts itself again,
/// with arguments of its own making), or with `--list` and `--seeds FOLDER`.
@main
struct CarouselFuzz {
    static let target = ProcessInfo.processInfo.environment["CAROUSEL_FUZZ_TARGET"].flatMap(FuzzTarget.init)

    static func main() throws {
        let arguments = CommandLine.arguments
        switch (arguments.dropFirst().first, target) {
        case ("--list", _):
            for target in FuzzTarget.allCases { print(target.rawValue) }
        case ("--seeds", let target?):
            for (number, seed) in target.seeds.enumerated() {
                try Data(seed).write(to: URL(filePath: arguments[2]).appending(path: "seed-\(number)"))
            }
        case (_, nil):
            print("CAROUSEL_FUZZ_TARGET names none of the targets that --list shows")
            exit(2)
        case (_, _):
            fuzz()
        }
    }

    private static func fuzz() -> Never {
        var count = CommandLine.argc
        var words: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>? = CommandLine.unsafeArgv
        exit(
            LLVMFuzzerRunDriver(&count, &words) { data, size in
                do throws(FuzzFinding) {
                    try CarouselFuzz.target?.run(Array(UnsafeBufferPointer(start: data, count: size)))
                } catch {
                    fatalError("not kept: \(error)")
                }
                return 0
            })
    }
}
