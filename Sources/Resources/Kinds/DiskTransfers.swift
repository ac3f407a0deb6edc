/// The formats of the files that the content of disks goes to.
public enum ExportFormat: String, FieldWord, Codable {
    /// One block after another, as on the disk; sparse.
    case raw
    /// That of QEMU.
    case qcow2
    /// A stream that a disk of another daemon is made of, or brought up to a snapshot (`DeltaStream` in the docs of
    /// `Media`).
    case delta
}

/// The formats of files that disks are made of.
public enum ImportFormat: String, FieldWord, Codable {
    case raw, qcow2, vmdk, vhdx
}

// Content of disks that is copied, written to files of the host or read from them; each is a job.
extension Disk {
    public enum Copy: ResourceAction {
        public typealias Kind = Disk

        public struct Arguments: Record {
            /// A disk, or `DISK@NAME`.
            public var source = ""
            /// The name of the new disk.
            public var name = ""
            /// How its blocks lie in its image; nil for that of the source.
            public var format: DiskFormat?

            public init() {}

            public init(source: String, name: String, format: DiskFormat? = nil) {
                (self.source, self.name, self.format) = (source, name, format)
            }

            public static let fields: [Field<Arguments>] = [
                Field("source", \.source, .text(.diskOrSnapshot), .required, help: "A disk, or a snapshot of one."),
                Field("name", \.name, .text(.name(of: "disk")), .required, help: "The name of the new disk."),
                Field(
                    "format", \.format, DiskFormat.type,
                    help: "The format of the new disk; that of the other one if left out."),
            ]
        }

        public static let description = ActionDescription(
            "copy", Arguments.self, help: "Make a disk with the content of another one, or of a snapshot.",
            discussion: """
                Only what has storage is read, and zeros are not written. A disk of the format carousel is copied as \
                it is at one instant, while it is used; a raw one only while no initiator is logged in. The copy is \
                served when all of it is durable; until then, nothing of it stays when the job ends. It gets what the \
                disk says of itself: block sizes, cache, form factor, and the key of an encrypted one, but no \
                protection information.
                """, positional: ["source", "name"], of: .kind)
    }

    public enum Export: ResourceAction {
        public typealias Kind = Disk

        public struct Arguments: Record {
            /// A disk, or `DISK@NAME`.
            public var source = ""
            /// The absolute path of the file to make.
            public var file = ""
            public var format = ExportFormat.raw
            /// The snapshot that the receiver has already; nil for the whole content.
            public var since: String?

            public init() {}

            public init(source: String, file: String, format: ExportFormat = .raw, since: String? = nil) {
                (self.source, self.file, self.format, self.since) = (source, file, format, since)
            }

            /// Whether the file is a delta stream.
            public var isDelta: Bool { format == .delta || since != nil }

            public static let fields: [Field<Arguments>] = [
                Field("source", \.source, .text(.diskOrSnapshot), .required, help: "A disk, or a snapshot of one."),
                Field(
                    "file", \.file, .text(.path), .required, role: .admin,
                    help: "The absolute path of the file to make; nothing may be there."),
                Field(
                    "format", \.format, ExportFormat.type, .withDefault(ExportFormat.raw.json),
                    help: """
                        raw: one block after another, sparse; qcow2: that of QEMU, by the host's qemu-img; delta: a \
                        stream for 'import --delta', of a snapshot.
                        """),
                Field(
                    "since", \.since, .text(.any("[disk@]name")),
                    help: """
                        Only what has changed since this snapshot, which the receiver has: a delta stream. DISK@NAME, \
                        or NAME of one of the same disk.
                        """),
            ]
        }

        public static let description = ActionDescription(
            "export", Arguments.self, help: "Write the content of a disk, or of a snapshot, to a file of the host.",
            discussion: """
                The daemon makes the file, for its user only, and gives it its name when all of it is durable. It has \
                the blocks as initiators read them, those of an encrypted disk too. What is said of copies goes for \
                this: only what has storage is read, and a raw disk must not be in use. A delta stream is written to \
                FILE.part first, which stays when the job ends early: the same command goes on with it.
                """, positional: ["source", "file"], of: .kind, role: .admin)
    }

    public enum Import: ResourceAction {
        public typealias Kind = Disk

        public struct Arguments: Record {
            /// The absolute path of the file to read.
            public var file = ""
            /// The name of the new disk.
            public var name = ""
            /// How its blocks lie in its image; nil for what a disk has where nothing is said.
            public var format: DiskFormat?
            /// The logical block length in bytes; nil for 512.
            public var blockSize: Int?
            /// The format of the file; nil for what its first bytes say.
            public var sourceFormat: ImportFormat?
            /// Whether the file is a delta stream, which is applied to the disk.
            public var isDelta = false

            public init() {}

            public init(file: String, name: String, format: DiskFormat? = nil, blockSize: Int? = nil) {
                (self.file, self.name, self.format, self.blockSize) = (file, name, format, blockSize)
            }

            public static let fields: [Field<Arguments>] = [
                Field(
                    "file", \.file, .text(.path), .required, role: .admin,
                    help: "The absolute path of an image; it is only read."),
                Field(
                    "name", \.name, .text(.name(of: "disk")), .required,
                    help: "The name of the new disk; with --delta of the one that the stream is for."),
                Field("format", \.format, DiskFormat.type, help: "The format of the new disk."),
                Field(
                    "blockSize", \.blockSize, .choice([512, 4096]),
                    help: "The logical block size; 512 if left out. Not with --delta, whose stream says it."),
                Field(
                    "sourceFormat", \.sourceFormat, ImportFormat.type,
                    help: "The format of the file; what its first bytes say if left out."),
                Field(
                    "isDelta", \.isDelta, .flag, .withDefault(false),
                    help: "Whether it is a delta stream, from 'export --since', that is applied to the disk."),
            ]
        }

        public static let description = ActionDescription(
            "import", Arguments.self, help: "Make a disk with the content of an image, or apply a delta stream to one.",
            discussion: """
                A raw image is read by the daemon; qcow2, VMDK (monolithicSparse, streamOptimized) and VHDX are \
                recognised by their first bytes and read by the host's qemu-img. Images that need other files are \
                refused. The last block is filled with zeros where the image has no whole number of them.

                With --delta the file is a stream that 'disk export --since A' has written, and the disk has to be \
                what its own snapshot with the content of A is, or, for a stream of a whole snapshot, a disk without \
                content; one that is not there is made. It stays what it is until all of the stream has come; then it \
                becomes what the stream brings at once, with a snapshot of that name, and initiators are told that it \
                is another one. What has come of a stream that is cut off, or of a job that is cancelled, is kept in \
                the image, and a disk that was made for it stays: the same command with the whole file goes on there, \
                and another stream takes its place.
                """, positional: ["file", "name"], of: .kind, role: .admin)
    }
}
