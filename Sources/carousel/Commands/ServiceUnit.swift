import ArgumentParser
import Foundation
import Resources

/// `carousel service-unit`
struct ServiceUnit: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Print a systemd unit for the daemon.",
        discussion: """
            carousel service-unit > /etc/systemd/system/carousel.service makes the daemon a service that runs as a \
            user of its own, with its state in /var/lib/carousel. With --socket it prints the unit of a socket, \
            carousel.socket, through which systemd listens for the daemon. It needs no daemon.
            """)

    @Flag(help: "Print the unit of a socket that becomes a portal.")
    var socket = false
    @Option(
        help: ArgumentHelp(
            "Where the program is; where it runs from when not given.", valueName: "file"), completion: .file())
    var program: String?
    @Option(help: ArgumentHelp("The address and port of the portal.", valueName: "addr:port"))
    var portal: String = "127.0.0.1:3260"

    func run() throws {
        let address = try portalAddress()
        guard !socket else { return Output.print(Self.socketUnit(portal: address)) }
        let program = try program ?? ownPath()
        guard program.hasPrefix("/"), !program.contains(where: { $0.isWhitespace || "\"'\\%$".contains($0) }) else {
            throw CommandFailure(
                .usage, "'\(program)' is no path for a unit; give one that begins with / and has no spaces and quotes")
        }
        Output.print(Self.serviceUnit(program: program, portal: address))
    }

    private func portalAddress() throws -> String {
        try parsing { () throws(ManagementError) in try PortalAddress.parse(portal) }.description
    }

    private func ownPath() throws -> String {
        guard let path = try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe") else {
            throw CommandFailure(.usage, "it is not known where the program is; name it with --program")
        }
        return path
    }

    /// The unit of the daemon.
    static func serviceUnit(program: String, portal: String) -> String {
        """
        [Unit]
        Description=Virtual SCSI devices on iSCSI
        Documentation=man:carousel(1)
        Wants=network-online.target
        After=network-online.target

        [Service]
        Type=notify
        ExecStart=\(program) serve --portal \(portal)
        ExecReload=/bin/kill -HUP $MAINPID
        Environment=CAROUSEL_STATE=/var/lib/carousel
        User=carousel
        DynamicUser=yes
        StateDirectory=carousel
        StateDirectoryMode=0700
        UMask=0077
        Restart=on-failure
        # 64: the command line or the catalog asks for what makes no sense; starting again does not help.
        RestartPreventExitStatus=64 65
        RestartSec=2
        # A library's cartridges are written out before the daemon ends.
        TimeoutStopSec=180
        TimeoutStartSec=300
        WatchdogSec=60
        LimitNOFILE=65536
        # Hot data of disks and buffers are locked in memory.
        LimitMEMLOCK=infinity
        NoNewPrivileges=yes
        ProtectSystem=strict
        ProtectHome=yes
        PrivateTmp=yes
        PrivateDevices=yes
        ProtectKernelTunables=yes
        ProtectKernelModules=yes
        ProtectControlGroups=yes
        RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
        RestrictNamespaces=yes
        LockPersonality=yes
        CapabilityBoundingSet=
        SystemCallArchitectures=native

        [Install]
        WantedBy=multi-user.target
        """
    }

    /// The unit of a socket, for which systemd listens before the daemon does.
    static func socketUnit(portal: String) -> String {
        """
        [Unit]
        Description=A portal of Carousel

        [Socket]
        ListenStream=\(portal)
        FileDescriptorName=portal
        BindIPv6Only=ipv6-only
        Backlog=1024
        NoDelay=yes

        [Install]
        WantedBy=sockets.target
        """
    }
}
