// swift-tools-version: 6.2
import PackageDescription

let settings: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
    .treatAllWarnings(as: .error),
]

let arguments = Target.Dependency.product(name: "ArgumentParser", package: "swift-argument-parser")
let logging = Target.Dependency.product(name: "Logging", package: "swift-log")

let package = Package(
    name: "PartialFC",
    products: [
        // One program under three names: Sources/Programs.
        .executable(name: "coordinator", targets: ["Programs"]),
        .executable(name: "shard-server", targets: ["Programs"]),
        .executable(name: "worker", targets: ["Programs"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", exact: "1.8.2"),
        .package(url: "https://github.com/apple/swift-log", exact: "1.16.2"),
        .package(url: "https://github.com/jpsim/Yams", exact: "6.2.2"),
        .package(url: "https://github.com/groue/GRDB.swift", exact: "7.10.0"),
    ],
    targets: [
        // C libraries: headers and link flags only.
        .systemLibrary(name: "CZeroMQ", providers: [.apt(["libzmq3-dev"])]),
        .systemLibrary(name: "COpenBLAS", pkgConfig: "openblas", providers: [.apt(["libopenblas-dev"])]),
        .systemLibrary(name: "CProtobufC", pkgConfig: "libprotobuf-c", providers: [.apt(["libprotobuf-c-dev"])]),
        .systemLibrary(name: "COneDNN", providers: [.apt(["libdnnl-dev"])]),
        .systemLibrary(name: "CFreeType", pkgConfig: "freetype2", providers: [.apt(["libfreetype-dev"])]),
        .systemLibrary(name: "CJPEG", pkgConfig: "libjpeg", providers: [.apt(["libjpeg62-turbo-dev"])]),
        .systemLibrary(name: "CWebP", pkgConfig: "libwebp", providers: [.apt(["libwebp-dev"])]),
        .systemLibrary(name: "CISAL", pkgConfig: "libisal", providers: [.apt(["libisal-dev"])]),
        .systemLibrary(name: "CPNG", pkgConfig: "libpng", providers: [.apt(["libpng-dev"])]),
        // Hot loops. -ffp-contract=off: the same bits whatever the compiler fuses.
        .target(name: "CKernels", cSettings: [.unsafeFlags(["-O3", "-ffp-contract=off"])]),
        .target(name: "CWire", dependencies: ["CProtobufC"], exclude: ["wire.proto"]),

        // JPEG and PNG, whose libraries report errors by longjmp.
        .target(name: "CPictures", dependencies: ["CJPEG", "CPNG"], cSettings: [.unsafeFlags(["-O2"])]),

        .target(name: "Tensors", dependencies: ["CKernels"], swiftSettings: settings),
        .target(name: "Determinism", dependencies: ["CKernels"], swiftSettings: settings),
        .target(
            name: "Dataset",
            dependencies: ["Tensors", "Determinism", "CFreeType", "CPictures", "CWebP", "CKernels"],
            swiftSettings: settings),
        .target(
            name: "Verification", dependencies: ["Tensors", "Determinism", "Dataset", "CFreeType", "CPNG"],
            swiftSettings: settings),
        .target(
            name: "Backbone", dependencies: ["Tensors", "Determinism", "COneDNN", "CKernels"], swiftSettings: settings),
        .target(
            name: "CenterStore",
            dependencies: ["Tensors", "Determinism", "StepProtocol", "ProcessSupport", "CKernels", "CISAL"],
            swiftSettings: settings),
        .target(
            name: "PartialFC",
            dependencies: ["Tensors", "Determinism", "StepProtocol", "CenterStore", "COpenBLAS", "CKernels"],
            swiftSettings: settings),
        .target(name: "StepProtocol", dependencies: ["Determinism"], swiftSettings: settings),
        // Endpoints, hosts and ports: one parser for every option, and one printer.
        .target(name: "NetworkAddress", swiftSettings: settings),
        .target(
            name: "Wire",
            dependencies: [
                "NetworkAddress", "Tensors", "Determinism", "StepProtocol", "CKernels", "CZeroMQ", "CWire",
            ],
            exclude: ["PROTOCOL.md"],
            swiftSettings: settings),

        .target(name: "ProcessSupport", dependencies: [logging, "CKernels"], swiftSettings: settings),
        // Key files and key sets, and the options that name them.
        .target(name: "ClusterKeys", dependencies: ["Wire", "ProcessSupport", arguments], swiftSettings: settings),
        .target(
            name: "RunConfiguration", dependencies: [.product(name: "Yams", package: "Yams")], swiftSettings: settings),

        .target(name: "ClusterStatus", swiftSettings: settings),
        // A live screen for a terminal, and other things that need one.
        .target(name: "ClusterConsole", dependencies: ["ClusterStatus", "ProcessSupport"], swiftSettings: settings),
        // HTTP for pages that are only read, and the text format of Prometheus.
        .target(
            name: "Monitoring", dependencies: ["ClusterStatus", "NetworkAddress", "ProcessSupport"],
            swiftSettings: settings),
        .target(
            name: "RunSetup",
            dependencies: [
                "RunConfiguration", "PartialFC", "CenterStore", "Backbone", "Dataset", "Determinism", "StepProtocol",
                "Tensors", "COpenBLAS",
            ],
            swiftSettings: settings),

        .target(
            name: "MemberSupport",
            dependencies: [
                "Backbone", "ClusterKeys", "Monitoring", "NetworkAddress", "PartialFC", "ProcessSupport", "RunSetup",
                "StepProtocol", "Wire",
                arguments, logging,
            ], swiftSettings: settings),

        .target(
            name: "CoordinatorStore",
            dependencies: ["ProcessSupport", "StepProtocol", .product(name: "GRDB", package: "GRDB.swift")],
            swiftSettings: settings),
        .target(
            name: "Coordinator",
            dependencies: [
                "ProcessSupport", "Wire", "StepProtocol", "PartialFC", "Backbone", "RunConfiguration", "RunSetup",
                "ClusterConsole", "ClusterKeys", "ClusterStatus", "CoordinatorStore", "CenterStore", "Monitoring",
                "NetworkAddress",
                "Tensors", "Determinism", "COpenBLAS",
                arguments, logging,
            ],
            resources: [.embedInCode("Pages/index.html"), .embedInCode("Pages/api.schema.json")],
            swiftSettings: settings),
        // What a shard is and keeps: executes what its state machine asks for, on files. No sockets.
        .target(
            name: "ShardState",
            dependencies: [
                "MemberSupport", "ProcessSupport", "Wire", "StepProtocol", "Tensors", "Determinism", "CenterStore",
                "PartialFC", "Backbone", "RunConfiguration", "RunSetup",
            ], swiftSettings: settings),
        .target(
            name: "ShardServer",
            dependencies: [
                "ShardState", "MemberSupport", "Monitoring", "NetworkAddress", "ProcessSupport", "Wire", "StepProtocol",
                "Tensors",
                "Determinism", "CenterStore", "PartialFC", "RunConfiguration", "RunSetup", arguments, logging,
            ], swiftSettings: settings),
        .target(
            name: "Worker",
            dependencies: [
                "MemberSupport", "Monitoring", "ProcessSupport", "Wire", "StepProtocol", "Tensors", "Determinism",
                "CenterStore", "PartialFC", "Backbone", "Dataset", "Verification",
                "RunConfiguration", "RunSetup", arguments, logging,
            ], swiftSettings: settings),

        .executableTarget(
            name: "Programs",
            dependencies: ["Coordinator", "ProcessSupport", "RunConfiguration", "ShardServer", "Worker", arguments],
            swiftSettings: settings),

        // Clusters of real processes, for tests and experiments.
        .target(
            name: "ClusterHarness",
            dependencies: [
                "ClusterKeys", "ClusterStatus", "Tensors", "Determinism", "Wire", "StepProtocol", "CZeroMQ",
                "ProcessSupport",
            ],
            path: "Benchmarks/ClusterHarness", swiftSettings: settings),
        .executableTarget(
            name: "experiments",
            dependencies: [
                "ClusterHarness", "ClusterKeys", "ClusterStatus", "CenterStore", "PartialFC", "Wire", "StepProtocol",
                "Determinism",
                "Tensors", "ProcessSupport", "CKernels", "COneDNN", "COpenBLAS", arguments,
            ],
            path: "Benchmarks/Experiments", swiftSettings: settings),

        .target(name: "TestFiles", path: "Tests/TestFiles", swiftSettings: settings),
        .testTarget(
            name: "ClusterTests",
            dependencies: ["ClusterHarness", "ClusterKeys", "ClusterStatus", "StepProtocol", "Tensors", "Wire"],
            swiftSettings: settings),
        .testTarget(name: "ClusterKeysTests", dependencies: ["ClusterKeys", "Wire"], swiftSettings: settings),
        .testTarget(
            name: "CenterStoreTests",
            dependencies: ["CenterStore", "StepProtocol", "Determinism", "Tensors", "TestFiles"],
            swiftSettings: settings),
        .testTarget(
            name: "CoordinatorStoreTests",
            dependencies: [
                "CoordinatorStore", "StepProtocol", .product(name: "GRDB", package: "GRDB.swift"), "TestFiles",
            ], swiftSettings: settings),
        .testTarget(
            name: "CoordinatorTests",
            dependencies: [
                "Coordinator", "Monitoring", "ClusterStatus", "StepProtocol", "Wire", "Determinism", "TestFiles",
            ],
            swiftSettings: settings),
        .testTarget(name: "TensorsTests", dependencies: ["Tensors", "Determinism"], swiftSettings: settings),
        .testTarget(
            name: "PartialFCTests",
            dependencies: ["PartialFC", "CenterStore", "StepProtocol", "Determinism", "Tensors", "TestFiles"],
            swiftSettings: settings),
        .testTarget(
            name: "DatasetTests", dependencies: ["Dataset", "Tensors", "Determinism", "TestFiles"],
            swiftSettings: settings),
        .testTarget(
            name: "VerificationTests",
            dependencies: ["Verification", "Dataset", "Tensors", "Determinism", "TestFiles"],
            swiftSettings: settings),
        .testTarget(
            name: "BackboneTests", dependencies: ["Backbone", "Tensors", "Determinism", "TestFiles"],
            exclude: ["Reference"],
            swiftSettings: settings),
        .testTarget(
            name: "RunSetupTests",
            dependencies: [
                "RunSetup", "RunConfiguration", "PartialFC", "CenterStore", "Dataset", "Determinism", "StepProtocol",
                "Tensors", "TestFiles",
            ], swiftSettings: settings),
        .testTarget(
            name: "ShardStateTests",
            dependencies: [
                "ShardState", "RunSetup", "RunConfiguration", "PartialFC", "CenterStore", "Determinism", "StepProtocol",
                "Tensors", "Wire", "TestFiles",
            ], swiftSettings: settings),
        .testTarget(
            name: "MonitoringTests", dependencies: ["Monitoring", "ClusterHarness", "ClusterStatus"],
            swiftSettings: settings),
        .testTarget(
            name: "ClusterConsoleTests", dependencies: ["ClusterConsole", "ClusterStatus"], swiftSettings: settings),
        .testTarget(name: "NetworkAddressTests", dependencies: ["NetworkAddress"], swiftSettings: settings),
        .testTarget(name: "RunConfigurationTests", dependencies: ["RunConfiguration"], swiftSettings: settings),
        .testTarget(
            name: "StepProtocolTests", dependencies: ["StepProtocol", "Determinism"], swiftSettings: settings),
        .testTarget(name: "ProcessSupportTests", dependencies: ["ProcessSupport"], swiftSettings: settings),
        .testTarget(
            name: "WorkerTests",
            dependencies: [
                "Wire", "StepProtocol", "RunConfiguration", "Determinism", "Tensors", "TestFiles",
            ], swiftSettings: settings),
        .testTarget(
            name: "WireTests",
            dependencies: [
                "NetworkAddress", "Wire", "ClusterHarness", "StepProtocol", "Determinism", "Tensors", "CZeroMQ",
            ],
            swiftSettings: settings),
    ]
)
