internal import Bytes
internal import SCSI

/// LOG SENSE (SPC-5 clause 6.8).
extension LogicalUnit {
    /// The subpage of a page that lists its subpages, and with page 00h all pages and subpages.
    private static let allSubpages: UInt8 = 0xFF

    /// All log pages with their subpages, but those that only list others.
    private var logPages: [CommonLogPage] {
        Set(server.logPages.map { CommonLogPage($0) } + server.commonLogPages).sorted()
    }

    func logSense(_ task: SCSITask, _ nexus: ITLNexus) -> CommandProgress {
        let block = task.commandDescriptorBlock
        let code = block[2] & 0x3F
        let subpage = block[3]
        // SP, where something keeps what is saved.
        let saves = block[1] & 0x01 != 0
        if saves, !parameters.isKept { return task.failInvalidField(byte: 1, bit: 0) }
        let isList = code == 0 || subpage == Self.allSubpages
        guard let found = isList ? listedPages(code, subpage) : logContent(code, subpage, nexus),
            let values = LogParameters.Values(rawValue: block[2] >> 6)
        else {
            return code == 0 || logPages.contains { $0.code == code }
                ? task.failInvalidField(byte: 3) : task.failInvalidField(byte: 2, bit: 5)
        }
        let content = isList ? found : LogParameters.converted(found, to: values)
        guard let page = commonLogPage(code, subpage: subpage), saves else {
            return answerLogSense(task, nexus, content, isList: isList)
        }
        return keep(for: task, { [self] in [KeptParameter(.logCounters): savedCounters(of: [page], zero: [])] }) {
            [self] task, nexus in answerLogSense(task, nexus, content, isList: isList)
        }
    }

    private func answerLogSense(
        _ task: SCSITask, _ nexus: ITLNexus, _ content: [UInt8], isList: Bool
    ) -> CommandProgress {
        let block = task.commandDescriptorBlock
        let code = block[2] & 0x3F
        guard let start = firstParameter(of: content, from: Int(block.bytes.loadBE16(at: 5)), isList: isList) else {
            return task.failInvalidField(byte: 5)
        }
        var bytes: [UInt8] = [block[3] == 0 ? code : 0x40 | code, block[3]]
        bytes.appendBE16(UInt16(content.count - start))
        let allocationLength = Int(block.bytes.loadBE16(at: 7))
        let progress = task.answer(bytes + content[start...], allocationLength: allocationLength)
        let sentEnd = start + min(allocationLength, task.expectedDataInLength) - bytes.count
        if task.status == .good, !isList, let codes = wholeParameters(of: content, from: start, to: sentEnd) {
            server.logParametersReported(codes, page: code, nexus: nexus)
        }
        return progress
    }

    /// The parameters of a page: the device's own, or those that the unit makes.
    private func logContent(_ code: UInt8, _ subpage: UInt8, _ nexus: ITLNexus) -> [UInt8]? {
        if let own = server.logPage(code, subpage: subpage, nexus: nexus) { return own }
        return commonLogPage(code, subpage: subpage).map { logParameters($0) }
    }

    /// Supported Log Pages (00h/00h), Supported Log Pages and Subpages (00h/FFh), Supported Subpages (FFh of others;
    /// SPC-5 clauses 7.3.22 to 7.3.24). Lists with subpages have themselves too.
    private func listedPages(_ code: UInt8, _ subpage: UInt8) -> [UInt8]? {
        let pages = logPages
        switch (code, subpage) {
        case (0, 0): return [0] + Set(pages.map(\.code)).sorted()
        case (0, Self.allSubpages):
            let lists = ([0] + Set(pages.map(\.code))).map { CommonLogPage($0, subpage: Self.allSubpages) }
            return ([CommonLogPage(0)] + pages + lists).sorted().flatMap { [$0.code, $0.subpage] }
        case (_, Self.allSubpages):
            let found = pages.filter { $0.code == code }.flatMap { [$0.code, $0.subpage] }
            return found.isEmpty ? nil : found + [code, Self.allSubpages]
        default: return nil
        }
    }

    /// The offset of the first log parameter whose code is at least `pointer`; nil when there is none.
    private func firstParameter(of content: [UInt8], from pointer: Int, isList: Bool) -> Int? {
        if pointer == 0 { return 0 }
        guard !isList else { return nil }
        var offset = 0
        while offset + LogParameters.headerLength <= content.count {
            if Int(content.rawSpan.loadBE16(at: offset)) >= pointer { return offset }
            offset += LogParameters.headerLength + Int(content[offset + 3])
        }
        return nil
    }

    /// The codes of the parameters that begin at `start` and end at `end` or before it; nil when there is none.
    private func wholeParameters(of content: [UInt8], from start: Int, to end: Int) -> ClosedRange<UInt16>? {
        var codes: ClosedRange<UInt16>?
        var offset = start
        while offset + LogParameters.headerLength <= content.count {
            let next = offset + LogParameters.headerLength + Int(content[offset + 3])
            guard next <= end else { break }
            let code = content.rawSpan.loadBE16(at: offset)
            codes = min(codes?.lowerBound ?? code, code)...max(codes?.upperBound ?? code, code)
            offset = next
        }
        return codes
    }

    /// What is kept of the counters when those of `pages` are saved; those of `zero` are put back to zero first.
    fileprivate func savedCounters(of pages: Set<CommonLogPage>, zero: Set<CommonLogPage>) -> [UInt8] {
        let values = logValues
        let present = parameters[KeptParameter(.logCounters)]
        var saved = UnitLogs.values(ofSaved: present)
        if saved.isEmpty { saved = [UInt64](repeating: 0, count: values.count) }
        for counter in LogCounter.allCases where pages.contains(counter.page) {
            let isReset = counter.isResettable && zero.contains(counter.page)
            saved[counter.rawValue] = isReset ? 0 : values[counter.rawValue]
        }
        // A later version may have saved more, which it finds again.
        return UnitLogs.saved(saved) + present.dropFirst(saved.count * 8)
    }
}

/// LOG SELECT (SPC-5 clause 6.7): counters are put back to zero and saved; the Application Client page is written.
extension LogicalUnit {
    /// The General Usage Application Client parameters (SPC-5 clause 7.3.4): those that every page has are there from
    /// the beginning, and no others.
    enum ApplicationLog {
        static let codes: ClosedRange<UInt16> = 0...0x3F
        /// PARAMETER LENGTH, of each.
        static let length = 0xFC
    }

    func beginLogSelect(_ task: SCSITask) -> CommandProgress {
        let block = task.commandDescriptorBlock
        let length = Int(block.bytes.loadBE16(at: 7))
        if length > 0 {
            // PCR, PAGE CODE and SUBPAGE CODE are for a command without a parameter list.
            if block[1] & 0x02 != 0 { return task.failInvalidField(byte: 1, bit: 1) }
            if block[2] & 0x3F != 0 { return task.failInvalidField(byte: 2, bit: 5) }
            if block[3] != 0 { return task.failInvalidField(byte: 3) }
        }
        let saves = block[1] & 0x01 != 0
        if saves, !parameters.isKept { return task.failInvalidField(byte: 1, bit: 0) }
        // There are no thresholds to save.
        if saves, block[1] & 0x02 == 0, block[2] & 0x40 == 0 { return task.failInvalidField(byte: 2, bit: 7) }
        return .awaitDataOut(length: length)
    }

    func logSelect(_ task: SCSITask, _ nexus: ITLNexus) -> CommandProgress {
        let list = task.parameterList()
        guard list.isEmpty else { return writeLogs(list, task, nexus) }
        let block = task.commandDescriptorBlock
        let (code, subpage) = (block[2] & 0x3F, block[3])
        let pages = logPages
        let chosen = pages.filter {
            (code == 0 && subpage == 0) || $0.code == code && (subpage == Self.allSubpages || $0.subpage == subpage)
        }
        guard !chosen.isEmpty || code == 0 && (subpage == 0 || subpage == Self.allSubpages) else {
            return pages.contains { $0.code == code }
                ? task.failInvalidField(byte: 3) : task.failInvalidField(byte: 2, bit: 5)
        }
        // PCR, or PC 11b: the default cumulative values.
        let resets = block[1] & 0x02 != 0 || block[2] >> 6 == 3
        return resetLogs(Set(chosen), resets: resets, saves: block[1] & 0x01 != 0, task, nexus)
    }

    private func resetLogs(
        _ pages: Set<CommonLogPage>, resets: Bool, saves: Bool, _ task: SCSITask, _ nexus: ITLNexus
    ) -> CommandProgress {
        let reset: @Sendable () -> Void = { [self] in
            guard resets else { return }
            logs.reset(pages, logCounts)
            attachedNexuses.establishUnitAttention(.logParametersChanged, except: nexus)
        }
        let removes = resets && pages.contains(.applicationClient)
        guard removes || saves else {
            reset()
            return task.good()
        }
        let values: UnitParameters.Values = { [self] in
            var values: [KeptParameter: [UInt8]] = [:]
            if removes {
                for (code, _) in parameters.all(.applicationLog) { values[KeptParameter(.applicationLog, code)] = [] }
            }
            if saves { values[KeptParameter(.logCounters)] = savedCounters(of: pages, zero: resets ? pages : []) }
            return values
        }
        return keep(for: task, values, whenKept: { _ in reset() }, then: { task, _ in task.good() })
    }

    private func writeLogs(_ list: [UInt8], _ task: SCSITask, _ nexus: ITLNexus) -> CommandProgress {
        let values: [KeptParameter: [UInt8]]
        switch writtenLogs(list) {
        case .failure(let refusal): return task.fail(refusal.sense)
        case .success(let found): values = found
        }
        guard !values.isEmpty else { return task.good() }
        return keep(
            for: task, { values },
            whenKept: { [attachedNexuses] _ in
                attachedNexuses.establishUnitAttention(.logParametersChanged, except: nexus)
            }, then: { task, _ in task.good() })
    }

    /// Why a parameter list is refused.
    private struct Refusal: Error {
        let sense: SenseData

        static let length = Refusal(sense: SenseData(.illegalRequest, .parameterListLengthError))
        static func parameter(_ byte: Int, bit: UInt8? = nil) -> Refusal {
            Refusal(sense: .invalidParameter(byte: byte, bit: bit))
        }
    }

    /// The parameters in the list of a LOG SELECT, or what is wrong with it. Pages and parameters come in ascending
    /// order, and only those of the Application Client page can be written.
    private func writtenLogs(_ list: [UInt8]) -> Result<[KeptParameter: [UInt8]], Refusal> {
        var values: [KeptParameter: [UInt8]] = [:]
        var offset = 0
        var last: CommonLogPage?
        while offset < list.count {
            guard list.count - offset >= 4 else { return .failure(.length) }
            let page = CommonLogPage(list[offset] & 0x3F, subpage: list[offset + 1])
            let length = Int(list.rawSpan.loadBE16(at: offset + 2))
            guard list[offset] & 0x40 != 0 || page.subpage == 0 else { return .failure(.parameter(offset + 1)) }
            guard logPages.contains(page) else {
                return .failure(
                    logPages.contains { $0.code == page.code } ? .parameter(offset + 1) : .parameter(offset, bit: 5))
            }
            if let last, page <= last { return .failure(.parameter(offset, bit: 5)) }
            last = page
            let end = offset + 4 + length
            guard end <= list.count else { return .failure(.length) }
            switch writtenParameters(list, offset + 4..<end, of: page, lengthAt: offset + 2) {
            case .failure(let refusal): return .failure(refusal)
            case .success(let found): values.merge(found) { $1 }
            }
            offset = end
        }
        return .success(values)
    }

    private func writtenParameters(
        _ list: [UInt8], _ range: Range<Int>, of page: CommonLogPage, lengthAt: Int
    ) -> Result<[KeptParameter: [UInt8]], Refusal> {
        var values: [KeptParameter: [UInt8]] = [:]
        var offset = range.lowerBound
        var last = -1
        while offset < range.upperBound {
            guard range.upperBound - offset >= LogParameters.headerLength else {
                return .failure(.parameter(lengthAt))
            }
            let code = list.rawSpan.loadBE16(at: offset)
            let length = Int(list[offset + 3])
            guard page == .applicationClient, ApplicationLog.codes.contains(code), Int(code) > last else {
                return .failure(.parameter(offset))
            }
            guard length == ApplicationLog.length else { return .failure(.parameter(offset + 3)) }
            let start = offset + LogParameters.headerLength
            guard start + length <= range.upperBound else { return .failure(.parameter(lengthAt)) }
            values[KeptParameter(.applicationLog, code)] = Array(list[start..<start + length])
            last = Int(code)
            offset = start + length
        }
        return .success(values)
    }
}
