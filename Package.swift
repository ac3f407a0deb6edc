// swift-tools-version: 6.2
// The module graph: devices cannot see ports, ports cannot see devices, `SCSI` cannot see the kernel, only `Media` and
// `Catalog` see SQLite, only `Media` sees zstd, only `Authentication` and `Encryption` see cryptography, only `Fabric`
// sees RDMA.
// `Sources/carousel/carousel.docc/Architecture.md` explains the walls.

import PackageDescription

/// Settings of every target: strict memory safety and no warnings, in debug and release alike.
let settings: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .strictMemorySafety(),
    .treatAllWarnings(as: .error),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    // Span-returning properties of our own types (`BufferLease.bytes`); swift-nio and swift-system build with it too.
    .enableExperimentalFeature("Lifetimes"),
]

/// Of modules that tests walk through hundreds of thousands of states: optimised in debug builds too, in which that
/// would take hours. Preconditions stay.
let optimized = settings + [.unsafeFlags(["-O"], .when(configuration: .debug))]
/// Those modules, and the ones below them.
let walked: Set<String> = ["Bytes", "Platform", "SCSI", "Encryption", "Media", "Fabric", "SRP"]
/// Those whose tests have models that are walked beside them.
let modelled: Set<String> = ["Media", "Fabric"]

let argumentParser = Target.Dependency.product(name: "ArgumentParser", package: "swift-argument-parser")
let collections = Target.Dependency.product(name: "Collections", package: "swift-collections")
let grdb = Target.Dependency.product(name: "GRDB", package: "GRDB.swift")
let grdbSQLite = Target.Dependency.product(name: "GRDBSQLite", package: "GRDB.swift")
let hummingbird = Target.Dependency.product(name: "Hummingbird", package: "hummingbird")
let logging = Target.Dependency.product(name: "Logging", package: "swift-log")
let nioCore = Target.Dependency.product(name: "NIOCore", package: "swift-nio")
let nioEmbedded = Target.Dependency.product(name: "NIOEmbedded", package: "swift-nio")
let nioHTTP1 = Target.Dependency.product(name: "NIOHTTP1", package: "swift-nio")
let nioPosix = Target.Dependency.product(name: "NIOPosix", package: "swift-nio")
/// What brings BoringSSL, and several minutes of building it, is for builds with the trait only.
let tls = TargetDependencyCondition.when(traits: ["TLS"])
let nioSSL = Target.Dependency.product(name: "NIOSSL", package: "swift-nio-ssl", condition: tls)
let nioTLS = Target.Dependency.product(name: "NIOTLS", package: "swift-nio", condition: tls)
let textTable = Target.Dependency.product(name: "TextTable", package: "TextTable")

/// A library target with the common settings.
func module(_ name: String, _ dependencies: [Target.Dependency] = []) -> Target {
    .target(name: name, dependencies: dependencies, swiftSettings: walked.contains(name) ? optimized : settings)
}

/// The test target of a module.
func tests(_ name: String, _ dependencies: [Target.Dependency] = [], exclude: [String] = []) -> Target {
    // Locks are Platform's, in tests as well.
    let always: [Target.Dependency] = name == "Platform" ? ["TestSupport"] : ["Platform", "TestSupport"]
    return .testTarget(
        name: "\(name)Tests", dependencies: [.target(name: name)] + always + dependencies, exclude: exclude,
        swiftSettings: modelled.contains(name) ? optimized : settings)
}

let package = Package(
    name: "carousel",
    products: [
        .executable(name: "carousel", targets: ["carousel"]),
        // For the package in Tests/Fuzz, which is built with libFuzzer.
        .library(name: "FuzzTargets", targets: ["FuzzTargets"]),
    ],
    traits: [
        .trait(name: "TLS", description: "Offer the API on a network, encrypted: 'carousel serve --control'.")
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-collections", from: "1.6.0"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
        .package(url: "https://github.com/apple/swift-nio-ssl", from: "2.37.6"),
        .package(url: "https://github.com/groue/GRDB.swift", from: "7.10.0"),
        .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.1", traits: []),
        .package(url: "https://github.com/ordo-one/TextTable", from: "0.0.2"),
    ],
    targets: [
        // MARK: The system
        .target(name: "CPlatform"),
        // Headers of libibverbs and librdmacm; nothing is linked.
        .target(name: "CFabric"),
        .systemLibrary(name: "CCrypto", pkgConfig: "libcrypto", providers: [.apt(["libssl-dev"])]),
        .systemLibrary(name: "CISAL", pkgConfig: "libisal", providers: [.apt(["libisal-dev"])]),
        .systemLibrary(name: "CZstd", pkgConfig: "libzstd", providers: [.apt(["libzstd-dev"])]),

        // MARK: Foundations of the data plane
        module("Bytes", ["CPlatform", "CISAL"]),
        module("Platform", ["Bytes", "CPlatform"]),
        module("Fabric", ["Bytes", "Platform", "CPlatform", "CFabric"]),
        module("SCSI", ["Bytes"]),
        module("TargetCore", ["Bytes", "Platform", "SCSI"]),

        // MARK: Media and devices
        module("Encryption", ["Bytes", "Platform", "CCrypto"]),
        module("Media", ["Bytes", "Platform", "SCSI", "Encryption", "CZstd", grdb]),
        // `BuiltIn` is a symbolic link to Media/profiles: the files travel inside the program.
        .target(name: "Profiles", resources: [.embedInCode("BuiltIn")], swiftSettings: settings),
        module("DiskDevice", ["Bytes", "Platform", "SCSI", "TargetCore", "Media", "Profiles"]),
        module("TapeDevice", ["Bytes", "Platform", "SCSI", "TargetCore", "Media", "Profiles"]),
        module("ChangerDevice", ["Bytes", "Platform", "SCSI", "TargetCore", "Media", "Profiles"]),

        // MARK: Transports
        module("ISCSI", ["Bytes", "SCSI"]),
        module("Authentication", ["ISCSI", "CCrypto"]),
        module("ISCSIPort", ["Bytes", "Platform", "SCSI", "TargetCore", "ISCSI", logging]),
        module("ISER", ["Bytes", "ISCSI"]),
        module("SRP", ["Bytes", "SCSI"]),
        module("SRPPort", ["Bytes", "Platform", "SCSI", "TargetCore", "Fabric", "SRP"]),
        module("ISNS", ["Bytes"]),
        module("Initiator", ["Bytes", "Platform", "SCSI", "ISCSI"]),
        module("Conformance", ["Bytes", "Platform", "SCSI", "ISCSI", "Authentication", "Initiator"]),

        // MARK: Control plane
        module("Resources", ["ISCSI"]),
        module("Catalog", ["Platform", "Resources", grdb]),
        module(
            "Management",
            [
                "Bytes", "Platform", "SCSI", "TargetCore", "Encryption", "Media", "Profiles", "Resources", "Catalog",
                "DiskDevice", "TapeDevice", "ChangerDevice", "ISCSI", "ISCSIPort", "ISNS", "ISNSClient",
                "Authentication", logging,
            ]),
        module("ISNSClient", ["ISNS", logging, nioCore, nioPosix]),
        module(
            "Console",
            [
                "Bytes", "Platform", "Resources", "Catalog", "Management", hummingbird, logging, nioCore, nioHTTP1,
                nioPosix, nioSSL, nioTLS,
            ]),
        .executableTarget(
            name: "carousel",
            dependencies: [
                "Bytes", "Resources", "Management", "Console", "Platform", "Conformance", "Initiator", "ISCSI", "SCSI",
                argumentParser,
                logging,
                textTable,
            ],
            // `Apache-2.0.txt` there is a symbolic link to LICENSE.
            resources: [.embedInCode("Notices")],
            swiftSettings: settings),

        // MARK: Tools that are no part of the product
        .target(name: "CBench"),
        .executableTarget(
            name: "carousel-bench",
            dependencies: [
                "CBench", "Bytes", "Platform", "SCSI", "Encryption", "Media", "ISCSI", "Initiator", argumentParser,
            ],
            swiftSettings: settings),

        // MARK: Tests
        .target(
            name: "TestSupport", dependencies: ["Bytes"], path: "Tests/TestSupport",
            swiftSettings: optimized),
        .target(
            name: "DeviceTestSupport",
            dependencies: ["Bytes", "Platform", "SCSI", "TargetCore", "TestSupport", grdbSQLite],
            path: "Tests/DeviceTestSupport", swiftSettings: settings),
        .target(
            name: "ManagementTestSupport",
            dependencies: [
                "Bytes", "Encryption", "Resources", "Catalog", "ISNSClient", "Management", "Platform", logging,
            ],
            path: "Tests/ManagementTestSupport", swiftSettings: settings),
        .target(
            name: "FuzzTargets",
            dependencies: [
                "Bytes", "Platform", "SCSI", "TargetCore", "Media", "Profiles", "DiskDevice", "TapeDevice",
                "ChangerDevice", "ISCSI", "ISCSIPort", "ISER", "SRP", "DeviceTestSupport", logging,
            ],
            path: "Tests/Fuzz/Targets", swiftSettings: settings),
        tests("Bytes"),
        tests("Platform", ["CPlatform"]),
        tests("Fabric", ["Bytes"]),
        tests("SCSI"),
        tests("TargetCore", ["DeviceTestSupport"]),
        tests("Encryption", ["Bytes", "DeviceTestSupport"]),
        tests("Media", ["DeviceTestSupport", "Encryption", grdb]),
        tests("Profiles"),
        tests("DiskDevice", ["DeviceTestSupport", "Encryption"]),
        tests("TapeDevice", ["DeviceTestSupport"]),
        tests("ChangerDevice", ["DeviceTestSupport"]),
        tests("ISCSI"),
        tests("Authentication", ["Bytes", "ISCSI"]),
        tests("ISCSIPort", ["Authentication", "DeviceTestSupport", "Initiator", "ISCSI"]),
        tests("ISER", ["Bytes", "ISCSI"]),
        tests("SRP", ["Bytes", "SCSI"]),
        tests("SRPPort", ["Bytes", "DeviceTestSupport", "Fabric", "SCSI", "SRP", "TargetCore"]),
        tests("ISNS", ["Bytes"]),
        tests("ISNSClient", ["ISNS", logging, nioCore, nioPosix]),
        tests("Initiator", ["Authentication"]),
        tests(
            "Conformance",
            [
                "ISCSI", "ISCSIPort", "Authentication", "TargetCore", "DiskDevice", "Encryption", "Media", "Initiator",
            ]),
        tests("Resources"),
        tests("Catalog", ["Resources", grdb]),
        tests(
            "Management",
            [
                "Bytes", "Resources", "Catalog", "ChangerDevice", "DeviceTestSupport", "DiskDevice", "Encryption",
                "Initiator",
                "ISCSI",
                "ISCSIPort", "Media", "SCSI", "TargetCore", "ManagementTestSupport", grdb,
            ],
            // State folders of former versions, packed.
            exclude: ["OldState"]),
        tests(
            "Console",
            [
                "Resources", "Management", "Catalog", "ManagementTestSupport", hummingbird, logging, nioCore,
                nioEmbedded,
                nioHTTP1, nioPosix,
            ]),
        // What fuzzing has found stays found: every file of Tests/Fuzz/Corpora.
        .testTarget(name: "FuzzTests", dependencies: ["FuzzTargets"], swiftSettings: settings),
        tests("carousel", ["Conformance", "Console", "ISCSI", "Initiator", "Management", "Resources", argumentParser]),
        .testTarget(
            name: "carousel-benchTests",
            dependencies: ["carousel-bench", "Bytes", "Initiator", "Platform", "TestSupport", argumentParser],
            swiftSettings: settings),
        // Rules of the repository itself: imports, file lengths, doc pages, left-overs.
        .testTarget(name: "RepositoryTests", swiftSettings: settings),
    ],
    swiftLanguageModes: [.v6]
)
