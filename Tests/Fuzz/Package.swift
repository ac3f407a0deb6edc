// swift-tools-version: 6.2
// The fuzzers: the targets of `Targets`, which are a module of Carousel's own package, with libFuzzer around them. It
// is a package of its own because all of its modules are built for libFuzzer; `Tools/fuzz` does that.

import PackageDescription

let package = Package(
    name: "carousel-fuzz",
    dependencies: [.package(name: "carousel", path: "../..")],
    targets: [
        .target(name: "CFuzzer", path: "CFuzzer"),
        .executableTarget(
            name: "carousel-fuzz", dependencies: ["CFuzzer", .product(name: "FuzzTargets", package: "carousel")],
            path: "Driver"),
    ],
    swiftLanguageModes: [.v6]
)
