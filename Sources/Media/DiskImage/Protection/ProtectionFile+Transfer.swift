internal import Bytes
internal import Platform
internal import SCSI
internal import Synchronization

/// Reading and writing blocks with their protection information, a group at a time.
extension ProtectionFile {
    /// The distance of blocks in a lease.
    private func stride(_ transfer: ProtectionTransfer) -> Int {
        transfer.isInterleaved ? blockSize + ProtectionInformation.length : blockSize
    }

    // MARK: Reading

    /// Reads blocks of `data` into the lease of a request; the count of their bytes, or an error number, and which
    /// block does not pass the checks.
    func read(
        _ request: FileRequest, _ first: UInt64, _ blocks: UInt64, from data: any ByteStore,
        _ transfer: ProtectionTransfer
    ) -> (FileResult, ProtectionFailure?) {
        guard var lease = request.payload.lease.take() else { preconditionFailure("reading needs a lease") }
        var done: UInt64 = 0
        var code: Int32 = 0
        var failure: ProtectionFailure?
        while done < blocks, code == 0, failure == nil {
            let group = group(first, blocks, after: done)
            (code, failure) = stripe(group.first).scratch.withLock { scratch in
                read(group, &lease, request.leaseOffset, data, transfer, &scratch)
            }
            done += UInt64(group.count)
        }
        request.payload.lease = consume lease
        if failure != nil { code = MediaFailure.protectionNumber }
        return (code == 0 ? .done(Int(blocks) * blockSize) : .failed(code), failure)
    }

    private func read(
        _ group: Group, _ lease: inout BufferLease, _ leaseOffset: Int, _ data: any ByteStore,
        _ transfer: ProtectionTransfer, _ scratch: inout Scratch
    ) -> (Int32, ProtectionFailure?) {
        let stride = stride(transfer)
        let start = leaseOffset + Int(group.index) * stride
        let length = group.count * blockSize
        let offset = Int64(group.first) * Int64(blockSize)
        let tagCode = readTags(&scratch, group.first, group.count)
        guard tagCode == 0 else { return (tagCode, nil) }
        if transfer.isInterleaved {
            Self.make(&scratch.data, length)
            let result = scratch.data.modifyBytes { bytes in
                var part = bytes._mutatingExtracting(0..<length)
                return data.read(into: &part, offset: offset, mode: .blocking)
            }
            let code = Self.code(result, length)
            guard code == 0 else { return (code, nil) }
            for index in 0..<group.count {
                let block = index * blockSize
                lease.store(scratch.data.rawSpan.extracting(block..<block + blockSize), at: start + index * stride)
            }
            lease.setCount(max(lease.count, start + group.count * stride))
        } else {
            var nothing = MutableRawSpan()
            let code = Self.code(
                data.read(
                    header: &nothing, into: &lease, at: start, count: length, offset: offset, mode: .blocking), length)
            guard code == 0 else { return (code, nil) }
        }
        let isSuspect = regions.isSuspect(region(group.first))
        for index in 0..<group.count {
            let place = start + index * stride
            var own = tag(scratch, index)
            if isSuspect, wrongField(of: own, lease, place, .blockGuard, ExpectedTags(), 0) != nil {
                own = .unchecked
                let code = forget(group.first + UInt64(index), index, &scratch)
                guard code == 0 else { return (code, nil) }
            }
            if let wrong = wrongField(
                of: own, lease, place, transfer.checks, transfer.expected, group.index + UInt64(index))
            {
                return (0, ProtectionFailure(wrong, block: group.first + UInt64(index)))
            }
            if transfer.isInterleaved {
                var target = lease.mutableBytes
                target.storeBE64(own.word, at: place + blockSize)
            }
        }
        return (0, nil)
    }

    /// What is wrong with the protection information of the block at `place` of a lease.
    private func wrongField(
        of own: ProtectionInformation, _ lease: borrowing BufferLease, _ place: Int, _ checks: ProtectionChecks,
        _ expected: ExpectedTags, _ index: UInt64
    ) -> ProtectionField? {
        own.wrongField(
            lease.bytes.extracting(place..<place + blockSize), type, checks, expected, index: index)
    }

    private func tag(_ scratch: borrowing Scratch, _ index: Int) -> ProtectionInformation {
        ProtectionInformation(word: ~scratch.tags.rawSpan.loadBE64(at: index * ProtectionInformation.length))
    }

    /// A crash has interrupted the write of a block: nobody knows to which data its protection information belongs.
    private func forget(_ block: UInt64, _ index: Int, _ scratch: inout Scratch) -> Int32 {
        let length = ProtectionInformation.length
        scratch.tags.modifyBytes { $0.storeBE64(0, at: index * length) }
        forgottenBlocks.add(1, ordering: .relaxed)
        let start = index * length
        return Self.code(
            store.write(scratch.tags.rawSpan.extracting(start..<start + length), offset: Self.offset(block)), length)
    }

    // MARK: Writing

    /// Writes blocks from the lease of a request to `data`.
    func write(
        _ request: FileRequest, _ first: UInt64, _ blocks: UInt64, to data: any ByteStore,
        _ transfer: ProtectionTransfer, synchronizeOwn: () -> Int32
    ) -> FileResult {
        guard let lease = request.payload.lease.take() else { preconditionFailure("writing needs a lease") }
        let code = withRegions(first, blocks, synchronizeOwn) {
            var done: UInt64 = 0
            while done < blocks {
                let group = group(first, blocks, after: done)
                let code = stripe(group.first).scratch.withLock { scratch in
                    write(group, lease, request.leaseOffset, data, transfer, &scratch)
                }
                guard code == 0 else { return code }
                done += UInt64(group.count)
            }
            return 0
        }
        request.payload.lease = consume lease
        return code == 0 ? .done(Int(blocks) * blockSize) : .failed(code)
    }

    /// First the protection information, which needs no new storage any more where the data need none, and then the
    /// data: when these fail, there is no protection information for them.
    private func write(
        _ group: Group, _ lease: borrowing BufferLease, _ leaseOffset: Int, _ data: any ByteStore,
        _ transfer: ProtectionTransfer, _ scratch: inout Scratch
    ) -> Int32 {
        let stride = stride(transfer)
        let start = leaseOffset + Int(group.index) * stride
        let length = group.count * blockSize
        Self.make(&scratch.tags, group.count * ProtectionInformation.length)
        if transfer.isInterleaved { Self.make(&scratch.data, length) }
        for index in 0..<group.count {
            let place = start + index * stride
            let block = lease.bytes.extracting(place..<place + blockSize)
            var sent = ProtectionInformation.unchecked
            if transfer.isInterleaved {
                scratch.data.modifyBytes { $0.store(block, at: index * blockSize) }
                sent = ProtectionInformation(word: lease.bytes.loadBE64(at: place + blockSize))
            }
            let own = information(block, group, index, transfer.place, sent)
            scratch.tags.modifyBytes { $0.storeBE64(~own.word, at: index * ProtectionInformation.length) }
        }
        var code = writeTags(scratch, group.first, group.count)
        if code == 0 {
            let offset = Int64(group.first) * Int64(blockSize)
            let result =
                transfer.isInterleaved
                ? data.write(scratch.data.rawSpan.extracting(0..<length), offset: offset)
                : data.write(lease.bytes.extracting(start..<start + length), offset: offset)
            code = Self.code(result, length)
        }
        if code != 0 { _ = reset(group.first, UInt64(group.count)) }
        return code
    }

    /// The protection information of the block at `index` of a group.
    private func information(
        _ block: RawSpan, _ group: Group, _ index: Int, _ place: ProtectionTransfer.Place,
        _ sent: ProtectionInformation
    ) -> ProtectionInformation {
        switch place {
        case .image:
            return ProtectionInformation(
                generatedFor: block, type, logicalBlock: group.first + UInt64(index))
        case .lease: return sent
        case .leaseWithoutGuard:
            var own = sent
            own.blockGuard = CRC16T10.checksum(block)
            return own
        case .repeated(let information):
            guard type.isCounting, information != .unchecked else { return information }
            var own = information
            own.referenceTag &+= UInt32(truncatingIfNeeded: group.index + UInt64(index))
            return own
        }
    }

    // MARK: After a crash

    /// Looks through the blocks of a group that may have been written when a crash came; 0 or an error number.
    func recover(_ group: Group, from data: any ByteStore) -> Int32 {
        stripe(group.first).scratch.withLock { scratch in
            let code = readTags(&scratch, group.first, group.count)
            guard code == 0 else { return code }
            let length = group.count * ProtectionInformation.length
            guard !scratch.tags.rawSpan.extracting(0..<length).isAllZero else { return 0 }
            let bytes = group.count * blockSize
            Self.make(&scratch.data, bytes)
            let result = scratch.data.modifyBytes { content in
                var part = content._mutatingExtracting(0..<bytes)
                return data.read(into: &part, offset: Int64(group.first) * Int64(blockSize), mode: .blocking)
            }
            let read = Self.code(result, bytes)
            guard read == 0 else { return read }
            for index in 0..<group.count {
                guard hasWrongGuard(scratch, index) else { continue }
                let code = forget(group.first + UInt64(index), index, &scratch)
                guard code == 0 else { return code }
            }
            return 0
        }
    }

    private func hasWrongGuard(_ scratch: borrowing Scratch, _ index: Int) -> Bool {
        let block = scratch.data.rawSpan.extracting(index * blockSize..<(index + 1) * blockSize)
        return tag(scratch, index).wrongField(block, type, .blockGuard, ExpectedTags(), index: 0) != nil
    }

    /// What is wrong with the protection information that was sent in a lease.
    func firstWrong(
        _ request: FileRequest, _ first: UInt64, _ blocks: UInt64, _ transfer: ProtectionTransfer
    ) -> ProtectionFailure? {
        guard let lease = request.payload.lease.take() else { preconditionFailure("checking needs a lease") }
        let failure = firstWrong(lease, request.leaseOffset, first, blocks, transfer)
        request.payload.lease = consume lease
        return failure
    }

    private func firstWrong(
        _ lease: borrowing BufferLease, _ leaseOffset: Int, _ first: UInt64, _ blocks: UInt64,
        _ transfer: ProtectionTransfer
    ) -> ProtectionFailure? {
        for index in 0..<blocks {
            let place = leaseOffset + Int(index) * (blockSize + ProtectionInformation.length)
            let own = ProtectionInformation(word: lease.bytes.loadBE64(at: place + blockSize))
            if let wrong = wrongField(of: own, lease, place, transfer.checks, transfer.expected, index) {
                return ProtectionFailure(wrong, block: first + index)
            }
        }
        return nil
    }
}
