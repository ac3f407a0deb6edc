internal import CFabric
public import Platform

extension VerbsFabric {
    public func openChannel() throws(FabricError) -> WatchedHandle {
        var channel: OpaquePointer?
        let descriptor = try Self.check(unsafe cfabric_open_channel(&channel), "open an RDMA event channel")
        return WatchedHandle(handle: unsafe FabricHandle(channel), fileDescriptor: descriptor)
    }

    public func closeChannel(_ channel: FabricHandle) {
        unsafe cfabric_close_channel(channel.object)
    }

    public func nextEvent(of channel: FabricHandle) -> ConnectionEvent? {
        var event = unsafe cfabric_event()
        guard unsafe cfabric_next_event(channel.object, &event) == 1 else { return nil }
        return unsafe Self.event(event)
    }

    private static func event(_ event: cfabric_event) -> ConnectionEvent {
        let count = unsafe Int(event.private_length)
        // Safe: a copy of the bytes of an array in a structure.
        let privateData = unsafe withUnsafeBytes(of: event.private_data) { unsafe Array($0.prefix(count)) }
        let status = unsafe event.status
        let kind: ConnectionEvent.Kind =
            switch unsafe UInt32(event.kind) {
            case CFABRIC_EVENT_RESOLVED.rawValue: .resolved
            case CFABRIC_EVENT_NOT_RESOLVED.rawValue: .failed(.notResolved(status))
            case CFABRIC_EVENT_REQUEST.rawValue: .requested
            case CFABRIC_EVENT_ESTABLISHED.rawValue: .established
            case CFABRIC_EVENT_REJECTED.rawValue: .failed(.rejected(reason: status, privateData: privateData))
            case CFABRIC_EVENT_UNREACHABLE.rawValue: .failed(.unreachable(status))
            case CFABRIC_EVENT_FAILED.rawValue: .failed(.failed(status))
            case CFABRIC_EVENT_DISCONNECTED.rawValue: .disconnected
            case CFABRIC_EVENT_REMOVED.rawValue: .deviceRemoved
            default: .other(status)
            }
        let parameters = unsafe ConnectionParameters(
            responderResources: event.responder_resources, initiatorDepth: event.initiator_depth,
            retryCount: event.retry_count, rnrRetryCount: event.rnr_retry_count, privateData: privateData)
        return unsafe ConnectionEvent(
            kind: kind, endpoint: FabricHandle(event.id), context: event.context, parameters: parameters,
            device: text(event.device))
    }

    public func listen(
        on address: SocketAddress, backlog: Int, channel: FabricHandle, context: UInt64
    ) throws(FabricError) -> (endpoint: FabricHandle, address: SocketAddress) {
        guard let port = address.port else {
            throw .failed(
                operation: "listen on \(address)", reason: "it is no address of a network",
                code: Errno.invalidArgument)
        }
        var id: OpaquePointer?
        let status = unsafe address.host.withCString { host in
            unsafe cfabric_listen(channel.object, host, port, Int32(clamping: backlog), context, &id)
        }
        let chosen = try Self.check(status, "listen for RDMA connections on \(address)")
        let host = address.isIPv6 ? "[\(address.host)]" : address.host
        return (unsafe FabricHandle(id), SocketAddress("\(host):\(chosen)") ?? address)
    }

    public func resolve(
        _ address: SocketAddress, from source: SocketAddress?, timeout: Duration, channel: FabricHandle,
        context: UInt64
    ) throws(FabricError) -> FabricHandle {
        var id: OpaquePointer?
        let milliseconds = Int32(clamping: timeout.wholeNanoseconds / 1_000_000)
        let port = address.port ?? 0
        let status = unsafe address.host.withCString { host in
            guard let source else {
                return unsafe cfabric_resolve(channel.object, host, port, nil, milliseconds, context, &id)
            }
            return unsafe source.host.withCString { source in
                unsafe cfabric_resolve(channel.object, host, port, source, milliseconds, context, &id)
            }
        }
        _ = try Self.check(status, "resolve \(address)")
        return unsafe FabricHandle(id)
    }

    public func move(_ endpoint: FabricHandle, to channel: FabricHandle, context: UInt64) throws(FabricError) {
        let status = unsafe cfabric_move(endpoint.object, channel.object, context)
        _ = try Self.check(status, "move a connection to another thread")
    }

    public func connect(_ endpoint: FabricHandle, _ parameters: ConnectionParameters) throws(FabricError) {
        let status = unsafe parameters.withCValue { unsafe cfabric_connect(endpoint.object, $0) }
        _ = try Self.check(status, "connect")
    }

    public func accept(_ endpoint: FabricHandle, _ parameters: ConnectionParameters) throws(FabricError) {
        let status = unsafe parameters.withCValue { unsafe cfabric_accept(endpoint.object, $0) }
        _ = try Self.check(status, "accept a connection")
    }

    public func reject(_ endpoint: FabricHandle, privateData: [UInt8]) throws(FabricError) {
        let status = unsafe privateData.withUnsafeBufferPointer { data in
            unsafe cfabric_reject(endpoint.object, data.baseAddress, UInt8(clamping: data.count))
        }
        _ = try Self.check(status, "reject a connection")
    }

    public func disconnect(_ endpoint: FabricHandle) { unsafe cfabric_disconnect(endpoint.object) }

    public func destroyEndpoint(_ endpoint: FabricHandle) { unsafe cfabric_destroy_id(endpoint.object) }

    public func addresses(of endpoint: FabricHandle) -> ConnectionAddresses {
        ConnectionAddresses(local: address(of: endpoint, peer: 0), peer: address(of: endpoint, peer: 1))
    }

    private func address(of endpoint: FabricHandle, peer: Int32) -> SocketAddress? {
        var text = [CChar](repeating: 0, count: 64)
        let capacity = text.count
        let port = unsafe text.withUnsafeMutableBufferPointer { buffer in
            // Safe: the buffer holds `capacity` characters and the call ends them with a zero.
            unsafe cfabric_address(endpoint.object, peer, buffer.baseAddress!, capacity)
        }
        guard port >= 0 else { return nil }
        let host = String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        return SocketAddress(host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)")
    }
}

extension ConnectionParameters {
    /// Calls `body` with the same as the shim takes it.
    fileprivate func withCValue(_ body: (UnsafePointer<cfabric_parameters>) -> Int32) -> Int32 {
        unsafe privateData.withUnsafeBufferPointer { data in
            // Safe: the data live as long as the call.
            var value = unsafe cfabric_parameters(
                responder_resources: responderResources, initiator_depth: initiatorDepth, retry_count: retryCount,
                rnr_retry_count: rnrRetryCount, private_length: UInt8(clamping: data.count),
                private_data: data.baseAddress)
            return unsafe body(&value)
        }
    }
}
