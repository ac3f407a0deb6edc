internal import Bytes
internal import Platform

/// Which values MODE SENSE asks for (SPC-5 table 184).
public enum ModePageControl: UInt8, Sendable {
    /// Current values.
    case current = 0
    /// Changeable values: ones where MODE SELECT may change a bit.
    case changeable = 1
    /// Default values.
    case defaults = 2
    /// Saved values; the defaults where none were saved.
    case saved = 3
}

/// A mode page: its code and its content in three forms (SPC-5 clause 7.5).
public struct ModePage: Sendable {
    public let code: UInt8
    /// SUBPAGE CODE; zero means the page_0 format.
    public let subpage: UInt8
    /// The bytes after the page length field: the values now.
    public var current: [UInt8]
    /// Ones where MODE SELECT may change a bit.
    public let changeable: [UInt8]
    /// The values that the device begins with.
    public let defaults: [UInt8]
    /// What MODE SELECT has saved; nil when it has saved nothing.
    public internal(set) var saved: [UInt8]?

    /// A page whose current values are its defaults. `changeable` is padded with zeros.
    public init(code: UInt8, subpage: UInt8 = 0, _ defaults: [UInt8], changeable: [UInt8] = []) {
        precondition(changeable.count <= defaults.count, "a changeable mask is no longer than its page")
        self.code = code
        self.subpage = subpage
        self.defaults = defaults
        self.current = defaults
        self.changeable = changeable + [UInt8](repeating: 0, count: defaults.count - changeable.count)
    }

    /// The content in one of its forms.
    public func content(_ control: ModePageControl) -> [UInt8] {
        switch control {
        case .current: current
        case .saved: saved ?? defaults
        case .changeable: changeable
        case .defaults: defaults
        }
    }

    /// Whether there is something in the page that MODE SELECT may change, and so save.
    var isSavable: Bool { changeable.contains { $0 != 0 } }

    /// Whether MODE SELECT could have saved those values.
    func admits(saved values: [UInt8]) -> Bool {
        values.count == defaults.count
            && values.indices.allSatisfy { (values[$0] ^ defaults[$0]) & ~changeable[$0] == 0 }
    }

    /// The current values after a change to `values`, of the bits that may change and of those of `following`; as they
    /// are when `values` are of another length.
    func changed(to values: [UInt8], following: [UInt8] = []) -> [UInt8] {
        guard values.count == current.count, changeable.count == current.count else { return current }
        return values.indices.map { index in
            let mask = changeable[index] | (index < following.count ? following[index] : 0)
            return values[index] & mask | current[index] & ~mask
        }
    }

    /// The page's header: page code, with PS one when the page can be saved, subpage where there is one, page length.
    func header(length: Int, isSavable: Bool) -> [UInt8] {
        let saving: UInt8 = isSavable ? 0x80 : 0
        if subpage == 0 { return [saving | code, UInt8(length)] }
        var bytes: [UInt8] = [saving | 0x40 | code, subpage]
        bytes.appendBE16(UInt16(length))
        return bytes
    }
}

/// The mode pages of a logical unit; any thread may read and change them.
public final class ModePages: Sendable {
    private let pages: Lock<[ModePage]>

    /// Pages in any order.
    public init(_ pages: [ModePage]) {
        self.pages = Lock(pages.sorted { ($0.code, $0.subpage) < ($1.code, $1.subpage) })
    }

    /// All pages, by code and subpage.
    public var all: [ModePage] { pages.withLock { $0 } }

    /// The page of that code, nil when there is none.
    public func page(_ code: UInt8, subpage: UInt8 = 0) -> ModePage? {
        pages.withLock { $0.first { $0.code == code && $0.subpage == subpage } }
    }

    /// Puts new current values in a page; true when they differ from the old ones. Of a page that was replaced
    /// meanwhile only what may change there does, and `following`. `apply` is called with the page, under the lock, so
    /// that whoever keeps copies of its bits gets them in the order of the changes.
    @discardableResult
    public func update(
        _ code: UInt8, subpage: UInt8 = 0, current: [UInt8], following: [UInt8] = [],
        apply: (ModePage) -> Void = { _ in }
    ) -> Bool {
        pages.withLock { pages in
            guard let index = pages.firstIndex(where: { $0.code == code && $0.subpage == subpage }) else {
                return false
            }
            let values = pages[index].changed(to: current, following: following)
            guard pages[index].current != values else { return false }
            pages[index].current = values
            apply(pages[index])
            return true
        }
    }

    /// Remembers `values` as the saved values of the pages that they are of, where those can have them.
    func save(_ values: [KeptParameter: [UInt8]]) {
        pages.withLock { pages in
            for index in pages.indices {
                guard let saved = values[.modePage(pages[index])], pages[index].isSavable,
                    pages[index].admits(saved: saved)
                else { continue }
                pages[index].saved = saved
            }
        }
    }

    /// Begins with the saved values of a page, if they are some that it can have. `apply` as in `update`.
    func restoreSaved(_ page: ModePage, _ values: [UInt8], apply: (ModePage) -> Void) {
        guard page.isSavable, page.admits(saved: values) else { return }
        save([.modePage(page): values])
        update(page.code, subpage: page.subpage, current: values, apply: apply)
    }

    /// Puts `page` in the place of the one with its code, with other defaults and other bits that can be changed; true
    /// when its current values differ from the old ones. With `keepsValues`, what may change in both keeps its current
    /// values. `apply` is called as by `update`.
    @discardableResult
    public func replace(_ page: ModePage, keepsValues: Bool = false, apply: (ModePage) -> Void = { _ in }) -> Bool {
        pages.withLock { pages in
            guard let index = pages.firstIndex(where: { $0.code == page.code && $0.subpage == page.subpage }) else {
                return false
            }
            let former = pages[index]
            let saved = former.saved
            pages[index] = page
            if keepsValues { pages[index].current = page.changed(to: former.current) }
            let isChanged = former.current != pages[index].current
            // What was saved stays where the new page admits it.
            if let saved, page.isSavable, page.admits(saved: saved) { pages[index].saved = saved }
            apply(pages[index])
            return isChanged
        }
    }

    /// Puts all pages back to their saved values, or their defaults (a reset), and calls `apply` with each, under the
    /// lock.
    public func restoreSaved(apply: (ModePage) -> Void = { _ in }) {
        pages.withLock { pages in
            for index in pages.indices {
                pages[index].current = pages[index].saved ?? pages[index].defaults
                apply(pages[index])
            }
        }
    }
}
