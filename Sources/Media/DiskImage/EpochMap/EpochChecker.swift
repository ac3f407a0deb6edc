internal import Platform

/// Checks the last commit of a disk image: all pages against their checksums, the free map against what they refer to,
/// exactly, the copies of the superblock, and the length of the file. Of the journal of an image that nobody has open
/// it checks that no frame is missing.
///
/// A node owns what it does not have from its parent, in the same place. So every unit in use has one owner, and what
/// several nodes share is read once. The memory it takes is a bit for each unit of the file. Nothing is changed.
struct EpochChecker: ~Copyable {
    /// The most findings that are kept.
    static let findingLimit = 1000
    /// The most nodes that another one is compared with at one place: of its parent, and as far as that one is being
    /// deleted, its parent and so on, those that have fewer pages done than all before.
    static let ancestorLimit = 64

    /// A node that another one is compared with, at one place.
    private struct Ancestor {
        var record: NodeRecord
        /// What it has there.
        var pointer: UnitPointer
        /// The level to which the pointer leads; lower than that of the place where the ancestor's map has fewer levels
        /// and is the first part of what is there.
        var level: Int

        /// Whether it still has the first-level page.
        func has(_ page: UInt64) -> Bool { !record.isBeingDeleted || page >= record.pagesDone }
    }

    private let reader: PageReader
    private let superblock: EpochSuperblock
    private let nodes: NodeTable
    /// The units that have an owner.
    private var seen: FreeMap
    /// The units that a node has from one above it that has lost them: whose they are is not known.
    private var orphans: FreeMap
    private var damagedPages: Set<PageName> = []
    private var report = EpochReport()
    private var words = [UInt64](repeating: 0, count: EpochFormat.regionUnits)
    private var otherWords = [UInt64](repeating: 0, count: EpochFormat.regionUnits)

    /// Checks the file of an image that nobody has open.
    static func check(_ store: any ByteStore) -> EpochReport {
        var report = EpochReport()
        let copies = EpochSuperblock.readCopies(store)
        switch EpochSuperblock.newest(of: copies) {
        case .valid(let superblock):
            report = check(store, superblock)
            check(copies, &report)
            for place in copies.indices { if case .unreadable = copies[place] { report.add(.superblockCopy(place)) } }
            do throws(EpochFault) {
                _ = try JournalScan.survey(store, superblock)
            } catch {
                report.add(fault: error)
            }
        case .newer, .unknownFeatures: report.add(.unknownFormat)
        case .unreadable(let code): report.add(.unreadable(code))
        case .invalid: report.add(.damaged(.superblock))
        }
        return report
    }

    /// The last commit of an image that is open, of which no other commit is made meanwhile.
    static func checkOpen(_ store: any ByteStore, _ superblock: EpochSuperblock) -> EpochReport {
        var report = check(store, superblock)
        let copies = EpochSuperblock.readCopies(store)
        check(copies, &report)
        for place in report.invalidCopies { report.add(.superblockCopy(place)) }
        if EpochSuperblock.newest(of: copies) != .valid(superblock) { report.add(.otherCommit) }
        return report
    }

    private static func check(_ copies: [EpochSuperblock.Copy], _ report: inout EpochReport) {
        for place in copies.indices {
            if case .valid = copies[place] { continue }
            report.invalidCopies.append(place)
        }
    }

    /// Checks one commit of an image.
    static func check(_ store: any ByteStore, _ superblock: EpochSuperblock) -> EpochReport {
        let reader = PageReader(store, superblock)
        var map = FreeMap(limit: EpochFormat.physicalUnitLimit, areas: superblock.checksumAreas)
        var tree: FreeMapTree?
        var unread: EpochFault?
        do throws(EpochFault) { tree = try FreeMapTree.read(superblock, reader, into: &map) } catch { unread = error }
        do throws(EpochFault) {
            let nodes = try NodeTable.read(superblock, reader)
            var checker = EpochChecker(reader, superblock, nodes)
            if let unread {
                checker.report.add(fault: unread)
                checker.report.isFreeMapWrong = true
            }
            if let tree { checker.markTree(tree) }
            checker.checkNodes()
            checker.checkLength(store, tree == nil ? checker.seen.cutEnd : map.cutEnd)
            if tree != nil { checker.compare(map) }
            return checker.report
        } catch {
            var report = EpochReport()
            report.add(fault: error)
            if let unread { report.add(fault: unread) }
            return report
        }
    }

    /// The units that nodes, their pages and the node table of a superblock have, and those before them; nil when
    /// anything else was found than what is lost.
    static func owned(
        _ store: any ByteStore, _ superblock: EpochSuperblock, _ nodes: NodeTable, into map: inout FreeMap
    ) -> EpochReport {
        let reader = PageReader(store, superblock)
        var checker = EpochChecker(reader, superblock, nodes)
        checker.checkNodes()
        checker.forEachOwned { map.load(page: $0, word: $1, $2) }
        return checker.report
    }

    private mutating func checkNodes() {
        markTable(superblock.nodeTable, level: superblock.nodeTableLevels)
        for record in nodes.records { check(record) }
        adoptOrphans()
        checkDeletions()
        report.damagedPages = damagedPages
    }

    private func forEachOwned(_ body: (_ page: Int, _ word: Int, _ bits: UInt64) -> Void) {
        for page in 0..<seen.pageCount {
            _ = seen.forEachCutWord(page) { word, bits in body(page, word, bits) }
        }
    }

    private init(_ reader: PageReader, _ superblock: EpochSuperblock, _ nodes: NodeTable) {
        self.reader = reader
        self.superblock = superblock
        self.nodes = nodes
        seen = FreeMap(limit: superblock.coveredUnits, areas: superblock.checksumAreas)
        orphans = FreeMap(limit: superblock.coveredUnits, areas: superblock.checksumAreas)
        _ = seen.adopt(0..<superblock.firstPoolUnit)
    }

    // MARK: Owners

    /// Gives a unit its owner; false when it has one, or cannot.
    private mutating func mark(_ unit: UInt64) -> Bool {
        if seen.adopt(unit..<unit + 1) { return true }
        report.add(unit < superblock.coveredUnits ? .ownedTwice(unit: unit) : .notCovered(unit: unit))
        return false
    }

    /// A unit that a node has from one that has lost it: others may have it from there too, or from above. False when
    /// it is not covered, or was looked at.
    private mutating func markOrphan(_ unit: UInt64) -> Bool {
        if orphans.adopt(unit..<unit + 1) { return true }
        if unit >= superblock.coveredUnits { report.add(.notCovered(unit: unit)) }
        return false
    }

    /// All nodes are checked: what nobody else owns is in use all the same.
    private mutating func adoptOrphans() {
        guard orphans.usedCount > 0 else { return }
        for page in 0..<orphans.pageCount {
            var words = [UInt64](repeating: 0, count: FreeMap.pageWords)
            guard orphans.forEachCutWord(page, { word, bits in words[word] = bits }) else { continue }
            for (word, bits) in words.enumerated() where bits != 0 {
                for bit in 0..<UInt64(64) where bits & (1 << (63 - bit)) != 0 {
                    let unit = UInt64(page * FreeMap.pageWords + word) * 64 + bit
                    _ = seen.adopt(unit..<unit + 1)
                }
            }
        }
    }

    private mutating func markTree(_ tree: FreeMapTree) {
        for level in tree.pointers {
            for pointer in level where pointer.kind == .page { _ = mark(pointer.unit) }
        }
    }

    private mutating func markTable(_ pointer: UnitPointer, level: Int) {
        guard pointer.kind == .page, mark(pointer.unit), level > 0 else { return }
        do throws(EpochFault) {
            let page = try reader.page(pointer, level: level, isMap: false)
            for next in page.pointers { markTable(next, level: level - 1) }
        } catch { report.add(fault: error) }
    }

    // MARK: Maps

    private mutating func check(_ record: NodeRecord) {
        var ancestors: [Ancestor] = []
        var number = record.parent
        // Of an ancestor the node has the pages that are not done, as far as no nearer one has them.
        var done = UInt64.max
        while done > 0, let ancestor = nodes[number] {
            number = ancestor.parent
            guard ancestor.pagesDone < done else { continue }
            guard ancestors.count < Self.ancestorLimit else { return report.add(.damaged(.node(record.number))) }
            done = ancestor.pagesDone
            var state = Ancestor(record: ancestor, pointer: ancestor.map, level: ancestor.levels)
            while state.level > record.levels {
                state.pointer = child(of: state, level: state.level, 0).pointer
                state.level -= 1
            }
            ancestors.append(state)
        }
        visit(record, record.map, level: record.levels, number: 0, ancestors)
    }

    /// What an ancestor has at the place of child `index` of a place at `level`.
    private mutating func child(of ancestor: Ancestor, level: Int, _ index: Int) -> Ancestor {
        var child = ancestor
        if ancestor.level < level {
            if index > 0 { child.pointer = .nothing }
            return child
        }
        child.level = level - 1
        guard ancestor.pointer.kind == .page else {
            if ancestor.pointer.kind != .lost { child.pointer = .nothing }
            return child
        }
        do throws(EpochFault) {
            child.pointer = try reader.page(ancestor.pointer, level: level, isMap: true).pointers[index]
        } catch {
            // The check of the ancestor says it.
            child.pointer = .lost
        }
        return child
    }

    private mutating func visit(
        _ node: NodeRecord, _ pointer: UnitPointer, level: Int, number: UInt64, _ ancestors: [Ancestor]
    ) {
        guard pointer.kind != .nothing else { return }
        let firstLeaf = number << UInt64(EpochFormat.fanOutShift * level)
        guard firstLeaf < node.regions else {
            report.add(.behindEnd(node: node.number, unit: pointer.unit))
            return
        }
        if pointer.kind == .lost, level > 1 { return checkLost(node, level: level, number, ancestors.first) }
        let page = firstLeaf >> UInt64(EpochFormat.fanOutShift)
        var ancestor = ancestors.first
        if level < 2 {
            // Of a node that is being deleted, what is done is not there any more.
            guard !node.isBeingDeleted || page >= node.pagesDone else { return }
            ancestor = ancestors.first { $0.has(page) }
        }
        let isShared = ancestor.map { $0.level == level && $0.pointer == pointer } ?? false
        if isShared, level < 2 || ancestor?.has(page) == true { return }
        if pointer.kind == .lost { return checkLost(node, level: level, number, ancestor) }
        guard isShared || own(pointer, node, ancestor, level) else { return }
        if level == 0 { return checkEntries(node, pointer, leaf: firstLeaf, ancestor) }
        do throws(EpochFault) {
            let page = try reader.page(pointer, level: level, isMap: true)
            for (index, next) in page.pointers.enumerated() where next.kind != .nothing {
                var others: [Ancestor] = []
                for ancestor in ancestors { others.append(child(of: ancestor, level: level, index)) }
                visit(
                    node, next, level: level - 1, number: number << UInt64(EpochFormat.fanOutShift) + UInt64(index),
                    others)
            }
        } catch { add(error, pointer, of: node, level: level, number: number) }
    }

    /// What one pointer says is lost lies in the disk as a whole.
    private mutating func checkLost(_ node: NodeRecord, level: Int, _ number: UInt64, _ ancestor: Ancestor?) {
        if let ancestor, ancestor.level == level, ancestor.pointer.kind == .lost { return }
        let place = LostPlace(
            level: level, number: number, units: EpochFormat.logicalUnits(capacity: node.capacity))
        if place.isPartial { report.add(.behindEnd(node: node.number, unit: 0)) }
        report.add(LostUnits(node: node.number, units: place.lostUnits))
    }

    /// Notes what reading a page of a node has found.
    private mutating func add(
        _ fault: EpochFault, _ page: UnitPointer, of node: NodeRecord, level: Int, number: UInt64
    ) {
        let place = LostPlace(
            level: level, number: number, units: EpochFormat.logicalUnits(capacity: node.capacity))
        if report.unreadable.count < Self.findingLimit {
            report.unreadable.append(LostUnits(node: node.number, units: place.lostUnits))
        }
        if fault.isDamagedPage || fault == .device(Errno.inputOutput) { damagedPages.insert(PageName(page)) }
        report.add(fault: fault)
    }

    /// Makes a node the owner of a page; false when it cannot be.
    private mutating func own(
        _ pointer: UnitPointer, _ node: NodeRecord, _ ancestor: Ancestor?, _ level: Int
    ) -> Bool {
        guard pointer.kind == .page else { return true }
        if let ancestor, ancestor.pointer.kind == .lost, pointer.birth <= ancestor.record.epoch {
            return markOrphan(pointer.unit)
        }
        checkBirth(pointer.birth, pointer.unit, node, ancestor)
        return mark(pointer.unit)
    }

    private mutating func checkBirth(_ birth: UInt32, _ unit: UInt64, _ node: NodeRecord, _ ancestor: Ancestor?) {
        let last = node.kind == .snapshot ? node.epoch : superblock.epoch
        if birth > (ancestor?.record.epoch ?? 0), birth <= last { return }
        report.add(.wrongBirth(node: node.number, unit: unit))
    }

    private mutating func checkEntries(
        _ node: NodeRecord, _ pointer: UnitPointer, leaf: UInt64, _ ancestor: Ancestor?
    ) {
        let other = ancestor?.level == 0 ? ancestor?.pointer ?? .nothing : .nothing
        do throws(EpochFault) {
            try reader.region(pointer, into: &words)
            do throws(EpochFault) {
                try reader.region(other, into: &otherWords)
            } catch {
                // The check of the ancestor says it.
                try reader.region(.lost, into: &otherWords)
            }
        } catch {
            add(error, pointer, of: node, level: 0, number: leaf)
            return
        }
        let end = EpochFormat.logicalUnits(capacity: node.capacity)
        for index in 0..<EpochFormat.regionUnits where words[index] != 0 {
            let entry = MapEntry(rawValue: words[index])
            if leaf * UInt64(EpochFormat.regionUnits) + UInt64(index) >= end {
                report.add(.behindEnd(node: node.number, unit: entry.unit))
            }
            guard words[index] != otherWords[index] else { continue }
            if entry.isLost {
                let unit = leaf * UInt64(EpochFormat.regionUnits) + UInt64(index)
                report.add(LostUnits(node: node.number, units: unit..<unit + 1))
                continue
            }
            if let ancestor, MapEntry(rawValue: otherWords[index]).isLost, entry.birth <= ancestor.record.epoch {
                if entry.ownsUnit { _ = markOrphan(entry.unit) }
                continue
            }
            checkBirth(entry.birth, entry.unit, node, ancestor)
            if entry.ownsUnit { _ = mark(entry.unit) }
        }
    }

    /// What is merged has one child at most.
    private mutating func checkDeletions() {
        var children: [UInt32: Int] = [:]
        for record in nodes.records { children[record.parent, default: 0] += 1 }
        for record in nodes.records where record.isBeingDeleted && children[record.number, default: 0] > 1 {
            report.add(.damaged(.node(record.number)))
        }
    }

    /// A file that ends before what is in use was cut off.
    private mutating func checkLength(_ store: any ByteStore, _ end: UInt64) {
        do throws(SystemError) {
            let length = UInt64(try store.size()) >> UInt64(EpochFormat.unitShift)
            if length < end { report.add(.damaged(.truncated(unit: end - 1))) }
        } catch {
            report.add(.unreadable(error.code))
        }
    }

    // MARK: The free map

    private mutating func compare(_ map: borrowing FreeMap) {
        report.usedUnits = seen.usedCount
        var leaked = Runs()
        var missing = Runs()
        var inUse = [UInt64](repeating: 0, count: FreeMap.pageWords)
        var owned = inUse
        for page in 0..<max(map.pageCount, seen.pageCount) {
            _ = map.forEachCutWord(page) { word, bits in inUse[word] = bits }
            _ = seen.forEachCutWord(page) { word, bits in owned[word] = bits }
            for word in 0..<FreeMap.pageWords where inUse[word] != owned[word] {
                let first = UInt64(page * FreeMap.pageWords + word) * 64
                leaked.add(inUse[word] & ~owned[word], first) { report.add(.leaked($0)) }
                missing.add(owned[word] & ~inUse[word], first) { report.add(.notInUse($0)) }
            }
        }
        if let run = leaked.run { report.add(.leaked(run)) }
        if let run = missing.run { report.add(.notInUse(run)) }
        if leaked.run != nil || missing.run != nil { report.isFreeMapWrong = true }
    }

    /// Joins bits to runs.
    private struct Runs {
        var run: Range<UInt64>?

        mutating func add(_ bits: UInt64, _ first: UInt64, _ body: (Range<UInt64>) -> Void) {
            var bits = bits
            while bits != 0 {
                let offset = UInt64(bits.leadingZeroBitCount)
                let unit = first + offset
                bits &= ~((1 << 63) >> offset)
                if let run, run.upperBound == unit {
                    self.run = run.lowerBound..<unit + 1
                    continue
                }
                if let run { body(run) }
                run = unit..<unit + 1
            }
        }
    }
}
