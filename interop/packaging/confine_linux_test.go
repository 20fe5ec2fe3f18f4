package packaging_test

import (
	"os/exec"
	"syscall"
)

// confine restricts a command to a folder, as an unprivileged user.
func confine(cmd *exec.Cmd, root string) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root, Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
}
