/// What the program contains or loads that others have written, and under which terms.
struct ThirdParty {
    /// The licences whose texts travel inside the program.
    enum License: String, CaseIterable {
        case apache = "Apache-2.0"
        case apacheWithException = "Apache-2.0 WITH Swift-exception"
        case bsd = "BSD-3-Clause"
        case mit = "MIT"
        case publicDomain = "public domain"
        case unicode = "Unicode-3.0"
    }

    /// How it gets into the process.
    enum Linkage: String {
        /// Its code is in the program's file.
        case contained
        /// The dynamic linker loads it: the system's version.
        case loaded
    }

    /// The name of the Swift package, or what people call it.
    let name: String
    /// The oldest version that the program is built with; later ones have the same terms. Nil for the system's.
    let version: String?
    let license: License
    let copyright: String
    let linkage: Linkage

    private init(
        _ name: String, _ version: String?, _ license: License, _ copyright: String,
        linkage: Linkage = .contained
    ) {
        self.name = name
        self.version = version
        self.license = license
        self.copyright = copyright
        self.linkage = linkage
    }

    private static let apple = "Apple Inc. and the Swift project authors"

    /// Everything, by name.
    static let all = (always + withTLS).sorted { $0.name.lowercased() < $1.name.lowercased() }

    /// What builds with the trait `TLS` contain besides.
    private static var withTLS: [ThirdParty] {
        #if TLS
            [
                ThirdParty(
                    "BoringSSL, in swift-nio-ssl", nil, .apache, "1995-2026 The OpenSSL Project Authors, Google"),
                ThirdParty("swift-nio-ssl", "2.37.6", .apache, "2017-2018 The SwiftNIO Project"),
            ]
        #else
            []
        #endif
    }

    private static let always = [
        ThirdParty("GRDB.swift", "7.10.0", .mit, "2015-2025 Gwendal Roué"),
        ThirdParty("hummingbird", "2.28.1", .apache, "2024 The Hummingbird Project"),
        ThirdParty("ICU, in Foundation", "74", .unicode, "2016-2024 Unicode, Inc."),
        ThirdParty("isa-l", nil, .bsd, "2011-2024 Intel Corporation", linkage: .loaded),
        ThirdParty("llhttp, in swift-nio", "9", .mit, "Fedor Indutny, 2018"),
        ThirdParty("OpenSSL libcrypto", nil, .apache, "1998-2026 The OpenSSL Project Authors", linkage: .loaded),
        ThirdParty("SHA-1 of KAME, in swift-nio", nil, .bsd, "1995-1998 WIDE Project"),
        ThirdParty("SQLite", nil, .publicDomain, "its authors disclaim copyright", linkage: .loaded),
        ThirdParty("Swift runtime and Foundation", "6.3", .apacheWithException, "2014-2026 \(apple)"),
        ThirdParty("swift-argument-parser", "1.8.2", .apacheWithException, "2020-2026 \(apple)"),
        ThirdParty("swift-async-algorithms", "1.1.4", .apacheWithException, "2022-2026 \(apple)"),
        ThirdParty("swift-atomics", "1.3.0", .apacheWithException, "2020-2023 \(apple)"),
        ThirdParty("swift-collections", "1.6.0", .apacheWithException, "2021-2026 \(apple)"),
        ThirdParty("swift-distributed-tracing", "1.7.3", .apache, "2020-2025 \(apple)"),
        ThirdParty("swift-http-types", "1.8.0", .apache, "2023 The Swift HTTP Types Project"),
        ThirdParty("swift-log", "1.16.2", .apache, "2018-2019 The SwiftLog Project"),
        ThirdParty("swift-metrics", "2.13.0", .apache, "2018-2019 The SwiftMetrics Project"),
        ThirdParty("swift-nio", "2.101.2", .apache, "2017-2018 The SwiftNIO Project"),
        ThirdParty("swift-nio-extras", "1.35.2", .apache, "2017-2018 The SwiftNIO Project"),
        ThirdParty("swift-service-context", "1.5.1", .apache, "2024 The Swift Service Context Project"),
        ThirdParty("swift-service-lifecycle", "2.13.0", .apache, "2019-2023 The ServiceLifecycle Project"),
        ThirdParty("swift-system", "1.8.1", .apacheWithException, "2020-2026 \(apple)"),
        ThirdParty("TextTable", "0.0.2", .mit, "2016 Cristian Filipov"),
        ThirdParty("uSHET's cpp_magic.h, in swift-nio", nil, .mit, "Thomas Nixon, Jonathan Heathcote"),
    ]

    /// The NOTICE files of those packages that have one.
    static var notices: String { text(PackageResources.notices_txt) }

    /// The texts of licences with their names, each once.
    static var licenseTexts: [(name: String, text: String)] {
        [
            ("Apache-2.0", text(PackageResources.Apache_2_0_txt)),
            ("Swift-exception", text(PackageResources.Swift_exception_txt)),
            ("BSD-3-Clause", text(PackageResources.BSD_3_Clause_txt)),
            ("MIT", text(PackageResources.MIT_txt)),
            ("Unicode-3.0", text(PackageResources.Unicode_3_0_txt)),
        ]
    }

    private static func text(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }
}
