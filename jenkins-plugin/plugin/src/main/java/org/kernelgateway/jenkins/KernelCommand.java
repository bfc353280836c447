package org.kernelgateway.jenkins;

import edu.umd.cs.findbugs.annotations.CheckForNull;
import hudson.AbortException;
import hudson.EnvVars;
import hudson.FilePath;
import hudson.Launcher;
import hudson.Proc;
import hudson.model.TaskListener;
import hudson.slaves.WorkspaceList;
import hudson.util.Secret;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.FutureTask;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import org.kernelgateway.jenkins.model.RunEnd;
import org.kernelgateway.jenkins.model.RunRequest;

/**
 * Runs the kernel-gateway command on the build's agent by the same scripts as the shared library's step, and stops it.
 *
 * <p>What users wrote goes into files, secrets into the environment; the command line is constant.
 */
final class KernelCommand {
    /** The library's scripts, which the build of this plugin copies in. */
    private static final List<String> SCRIPTS = List.of("run.sh", "bootstrap.py");

    static final String TOKEN_VARIABLE = "KERNEL_GATEWAY_TOKEN";

    private static final String SCRIPT_FOLDER = "/org/kernelgateway/";

    /** The shell becomes the command, so that its process id is the command's. */
    private static final String START =
            "echo $$ > \"$KERNEL_GATEWAY_REQUEST/pid\" && exec sh \"$KERNEL_GATEWAY_REQUEST/run.sh\"";

    private static final String STOP = "kill -TERM \"$(cat \"$KERNEL_GATEWAY_REQUEST/pid\")\"";

    /** How long the command may take to interrupt its cell and write its results: its own promise is 20 seconds. */
    private static final long PATIENCE_SECONDS = 25;

    private final FilePath workspace;
    private final EnvVars env;
    private final Launcher launcher;
    private final TaskListener listener;
    private final List<String> masked = new ArrayList<>();

    KernelCommand(
            FilePath workspace,
            EnvVars env,
            Launcher launcher,
            TaskListener listener,
            Map<String, Secret> credentials) {
        this.workspace = workspace;
        this.env = new EnvVars(env);
        this.launcher = launcher;
        this.listener = listener;
        credentials.forEach((variable, secret) -> {
            this.env.put(variable, literal(secret.getPlainText()));
            masked.add(secret.getPlainText());
        });
    }

    /**
     * Runs to the end.
     *
     * @param code a snippet, or null if the request names its source
     * @param client the command on the agent, or null for the agent's own or one that is installed
     * @throws InterruptedException if the build was aborted; the command has ended by then, and its results are written
     */
    RunEnd run(RunRequest request, @CheckForNull String code, @CheckForNull String client)
            throws IOException, InterruptedException {
        if (!launcher.isUnix()) {
            throw new AbortException("kernelRun: the command needs an agent with Linux; name one by its label.");
        }
        FilePath temp = WorkspaceList.tempDir(workspace);
        if (temp == null) {
            throw new AbortException("kernelRun: the workspace " + workspace + " has no folder for temporary files.");
        }
        temp.mkdirs();
        FilePath folder = temp.createTempDir("kernel-run", "");
        try {
            prepare(folder, request, code);
            if (client != null) {
                env.put("KERNEL_GATEWAY_CLIENT", literal(client));
            }
            return RunEnd.of(execute(folder));
        } finally {
            folder.deleteRecursive();
        }
    }

    private void prepare(FilePath folder, RunRequest request, @CheckForNull String code)
            throws IOException, InterruptedException {
        folder.chmod(0700);
        if (code != null) {
            folder.child(RunRequest.CODE_FILE).write(code, "UTF-8");
            request.option("code-file", RunRequest.CODE_FILE);
        }
        folder.child("request.json").write(request.toJson(), "UTF-8");
        for (String script : SCRIPTS) {
            try (InputStream content = KernelCommand.class.getResourceAsStream(SCRIPT_FOLDER + script)) {
                if (content == null) {
                    throw new IOException("The plugin was built without " + script + ".");
                }
                folder.child(script).copyFrom(content);
            }
        }
        env.put("KERNEL_GATEWAY_REQUEST", literal(folder.getRemote()));
    }

    private int execute(FilePath folder) throws IOException, InterruptedException {
        OutputStream console = listener.getLogger();
        OutputStream output = masked.isEmpty() ? console : new SecretMask(console, masked);
        try {
            Proc process = launcher.launch()
                    .cmds("sh", "-c", literal(START))
                    .envs(env)
                    .pwd(workspace)
                    .quiet(true)
                    .stdout(output)
                    .start();
            return await(process);
        } finally {
            if (output instanceof SecretMask) {
                output.close();
            }
        }
    }

    /** A text as a process gets it: a launcher puts variables in where commands and values have $NAME; $$ is a $. */
    private static String literal(String text) {
        return text.replace("$", "$$");
    }

    /**
     * Waits in a thread of its own: Jenkins would answer an abort with a signal to every process at once, kernels
     * before the command that guards them, and the run would end as a dead kernel.
     */
    private int await(Proc process) throws IOException, InterruptedException {
        FutureTask<Integer> end = new FutureTask<>(process::join);
        Thread waiter = new Thread(end, "Waiting for " + env.get("KERNEL_GATEWAY_REQUEST"));
        waiter.setDaemon(true);
        waiter.start();
        try {
            return end.get();
        } catch (ExecutionException lost) {
            throw new IOException("The connection to the command was lost: " + lost.getCause().getMessage(), lost);
        } catch (InterruptedException aborted) {
            stop(process, end);
            throw aborted;
        }
    }

    private void stop(Proc process, FutureTask<Integer> end) throws IOException, InterruptedException {
        try {
            launcher.launch().cmds("sh", "-c", literal(STOP)).envs(env).quiet(true).join();
            end.get(PATIENCE_SECONDS, TimeUnit.SECONDS);
        } catch (TimeoutException late) {
            listener.getLogger().println("kernelRun: the command did not end in " + PATIENCE_SECONDS
                    + " seconds; it is killed.");
            process.kill();
        } catch (ExecutionException | IOException | InterruptedException failed) {
            process.kill();
        }
    }
}
