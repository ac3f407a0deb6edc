internal import Initiator

/// One measurement, done in the same way on every side.
struct Job: Hashable {
    /// What kind of unit it needs.
    enum Unit: String, Hashable {
        case disk, tape
    }

    var unit = Unit.disk
    var operation: LoadOperation
    /// Bytes of each command.
    var blockLength: Int
    /// Commands under way on each connection.
    var depth = 1
    var connections = 1
    /// Header and data digests.
    var hasDigests = false

    /// For instance `read-4KiB-32x4` (depth 32 on four connections), `write-64KiB-32-digests`, `tape-write-64KiB`.
    var name: String {
        let size = ByteLength(blockLength).defaultValueDescription
        guard unit == .disk else { return "tape-\(operation.rawValue)-\(size)" }
        let many = connections > 1 ? "x\(connections)" : ""
        return "\(operation.rawValue)-\(size)-\(depth)\(many)\(hasDigests ? "-digests" : "")"
    }

    /// Small commands go to random addresses, others one after the other.
    var pattern: LoadPattern { blockLength <= 4096 ? .random : .sequential }

    /// The same without digests.
    var withoutDigests: Job {
        var job = self
        job.hasDigests = false
        return job
    }

    private static let sizes = [4096, 65536, 1 << 20]
    private static let depths = [1, 32, 128]
    private static let connectionCounts = [1, 4, 16]

    /// Every combination: 162 jobs.
    static var matrix: [Job] {
        var jobs: [Job] = []
        for hasDigests in [false, true] {
            for blockLength in sizes {
                for operation in [LoadOperation.read, .write, .mixed] {
                    for depth in depths {
                        for connections in connectionCounts {
                            jobs.append(
                                Job(
                                    operation: operation, blockLength: blockLength, depth: depth,
                                    connections: connections, hasDigests: hasDigests))
                        }
                    }
                }
            }
        }
        return jobs
    }

    /// The jobs that have goals and a few beside them.
    static var quick: [Job] {
        var jobs: [Job] = []
        for connections in [1, 4] {
            for operation in [LoadOperation.read, .write] {
                jobs.append(Job(operation: operation, blockLength: 4096, depth: 32, connections: connections))
            }
        }
        jobs.append(Job(operation: .mixed, blockLength: 4096, depth: 32, connections: 4))
        for operation in [LoadOperation.read, .write] {
            jobs.append(Job(operation: operation, blockLength: 4096))
        }
        for blockLength in [65536, 1 << 20] {
            for operation in [LoadOperation.read, .write] {
                jobs.append(Job(operation: operation, blockLength: blockLength, depth: 32))
            }
        }
        for operation in [LoadOperation.read, .write] {
            jobs.append(Job(operation: operation, blockLength: 65536, depth: 32, hasDigests: true))
        }
        for blockLength in [65536, 262_144] {
            for operation in [LoadOperation.write, .read] {
                jobs.append(Job(unit: .tape, operation: operation, blockLength: blockLength))
            }
        }
        return jobs
    }

    /// The jobs that the bare loop can do, too: disks without digests.
    static var floor: [Job] { quick.filter { $0.unit == .disk && !$0.hasDigests } }
}
