import Dispatch
import Foundation
import Glibc
import Platform

/// The screen of `carousel top`: another than the one with the user's lines, which is there again afterwards.
final class TopScreen {
    private let keys = TerminalKeys()
    private let signals: [any DispatchSourceSignal]
    private let isEnding = Flag()

    private final class Flag: Sendable {
        let isSet = Lock(false)
    }

    /// Takes the screen.
    init() {
        signals = [SIGINT, SIGTERM, SIGHUP].map { number in
            signal(number, SIG_IGN)
            return DispatchSource.makeSignalSource(signal: number, queue: .global())
        }
        for source in signals {
            source.setEventHandler { [isEnding] in isEnding.isSet.withLock { $0 = true } }
            source.resume()
        }
        write("\u{1B}[?1049h\u{1B}[?25l")
    }

    /// Shows `text` instead of what was there; the text commands nothing.
    func show(_ text: String) {
        write("\u{1B}[H\u{1B}[2J" + text)
    }

    /// Whether the user has pressed `q` or Ctrl-C, or a signal has come. Looks at keys that were pressed.
    func isToEnd() -> Bool {
        while let key = keys?.next() {
            if [UInt8(ascii: "q"), UInt8(ascii: "Q"), TerminalKeys.interrupt].contains(key) { return true }
        }
        return isEnding.isSet.withLock { $0 }
    }

    /// Gives the screen and the keys back.
    func restore() {
        write("\u{1B}[?25h\u{1B}[?1049l")
        keys?.restore()
    }

    private func write(_ text: String) {
        if !Output.write(text) { isEnding.isSet.withLock { $0 = true } }
    }
}
