internal import Synchronization

/// The Control mode page (SPC-5 clause 7.5.10) as all device types have it. What its bits say of tasks is done here; of
/// the medium and of sense data, by the device server.
public enum ControlModePage {
    /// PAGE CODE.
    public static let code: UInt8 = 0x0A
    /// D_SENSE, in the first byte of the page's content.
    public static let descriptorSense: UInt8 = 0x04
    /// DPICZ, in the first byte.
    public static let disablesProtectionCheck: UInt8 = 0x08
    /// SWP, in the third byte.
    public static let softwareWriteProtect: UInt8 = 0x08

    /// QERR, in the second byte.
    static let queueErrorManagement: UInt8 = 0x06
    /// UA_INTLCK_CTRL, in the third byte.
    static let unitAttentionInterlock: UInt8 = 0x30
    /// ATO, in the fourth byte.
    private static let applicationTagOwner: UInt8 = 0x80
    /// TAS, in the fourth byte.
    static let taskAbortedStatus: UInt8 = 0x40

    /// The bits that have an effect for every device type.
    private static let changeable: [UInt8] = [
        descriptorSense, queueErrorManagement, unitAttentionInterlock, taskAbortedStatus,
    ]

    /// The page of a unit that is used on all reactors: a task set for each I_T nexus (TST 001b), in which SIMPLE
    /// commands are not ordered against each other (QUEUE ALGORITHM MODIFIER 1h); SWP has an effect.
    public static var pageOfParallelUnit: ModePage { pageOfParallelUnit(isProtected: false) }

    /// The same for a unit with protection information, if it is one: application tags belong to the application client
    /// (ATO one), as nothing here has a use for them; DPICZ has an effect.
    public static func pageOfParallelUnit(isProtected: Bool) -> ModePage {
        var mask = changeable
        mask[2] |= softwareWriteProtect
        var content: [UInt8] = [0x20, 0x10, 0, 0, 0, 0, 0, 0, 0, 0]
        if isProtected {
            mask[0] |= disablesProtectionCheck
            content[3] = applicationTagOwner
        }
        return ModePage(code: code, content, changeable: mask)
    }

    /// The pages of a serial unit, `pages` and a Control mode page: a task set for all I_T nexuses (TST 000b), and
    /// commands in their order. A page of `pages` keeps its values.
    public static func addingPage(toSerialUnit pages: [ModePage]) -> [ModePage] {
        var all = pages
        if let index = all.firstIndex(where: { $0.code == code && $0.subpage == 0 }) {
            let page = all[index]
            let mask = page.changeable.enumerated().map { $1 | ($0 < changeable.count ? changeable[$0] : 0) }
            all[index] = ModePage(code: code, page.defaults, changeable: mask)
        } else {
            all.append(ModePage(code: code, [UInt8](repeating: 0, count: 10), changeable: changeable))
        }
        return all
    }

    /// Why `content`, which satisfies the changeable mask, is refused; `offset` is where it begins in the parameter
    /// list.
    static func invalidField(_ content: [UInt8], offset: Int) -> (byte: Int, bit: UInt8)? {
        if QueueErrorManagement(content[1]) == nil { return (offset + 1, 2) }
        if UnitAttentionInterlock(content[2]) == nil { return (offset + 2, 5) }
        return nil
    }
}

/// QERR: what a command that ends with CHECK CONDITION does to others.
enum QueueErrorManagement: UInt8, Sendable {
    /// Nothing.
    case none = 0
    /// All commands of the task set are aborted.
    case abortsTaskSet = 1
    /// All commands of the same I_T nexus are aborted.
    case abortsNexus = 3

    /// Of the second byte of the page's content; nil when the value is reserved.
    init?(_ byte: UInt8) {
        self.init(rawValue: (byte & ControlModePage.queueErrorManagement) >> 1)
    }
}

/// UA_INTLCK_CTRL: what reporting a unit attention does to it.
enum UnitAttentionInterlock: UInt8, Sendable {
    /// It is cleared.
    case clears = 0
    /// It stays until REQUEST SENSE reports it.
    case keeps = 2
    /// The same, and a status of BUSY, TASK SET FULL or RESERVATION CONFLICT establishes a unit attention.
    case keepsAndEstablishes = 3

    /// Of the third byte of the page's content; nil when the value is reserved.
    init?(_ byte: UInt8) {
        self.init(rawValue: (byte & ControlModePage.unitAttentionInterlock) >> 4)
    }
}

/// The bits of the Control mode page that say what becomes of tasks and of their sense data. Any thread.
final class TaskControl: Sendable {
    private let word = Atomic<UInt32>(0)

    /// Takes the current values of the page; other pages are left alone.
    func take(_ page: ModePage) {
        guard page.code == ControlModePage.code, page.subpage == 0, page.current.count >= 4 else { return }
        let bytes = page.current[0...3].reduce(0) { $0 << 8 | UInt32($1) }
        word.store(bytes, ordering: .releasing)
    }

    private func byte(_ shift: UInt32) -> UInt8 {
        UInt8(truncatingIfNeeded: word.load(ordering: .acquiring) >> shift)
    }

    /// D_SENSE: whether ports encode sense data in descriptor format.
    var usesDescriptorSense: Bool { byte(24) & ControlModePage.descriptorSense != 0 }
    var queueErrorManagement: QueueErrorManagement { QueueErrorManagement(byte(16)) ?? .none }
    var unitAttentionInterlock: UnitAttentionInterlock { UnitAttentionInterlock(byte(8)) ?? .clears }
    /// TAS: whether commands that another nexus aborts end with TASK ABORTED.
    var endsWithTaskAborted: Bool { byte(0) & ControlModePage.taskAbortedStatus != 0 }
}
