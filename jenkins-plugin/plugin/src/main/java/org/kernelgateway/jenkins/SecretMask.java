package org.kernelgateway.jenkins;

import edu.umd.cs.findbugs.annotations.NonNull;
import hudson.console.LineTransformationOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;

/** Writes a console's lines with stars in place of the step's secrets, should a program print them. */
final class SecretMask extends LineTransformationOutputStream.Delegating {
    private final List<String> secrets = new ArrayList<>();

    SecretMask(OutputStream console, List<String> secrets) {
        super(console);
        for (String secret : secrets) {
            // Lines are looked at one by one, so each line of a longer secret counts.
            secret.lines().filter(line -> !line.isBlank()).forEach(this.secrets::add);
        }
        this.secrets.sort(Comparator.comparingInt(String::length).reversed());
    }

    @Override
    protected void eol(@NonNull byte[] bytes, int length) throws IOException {
        // One byte a character, so that bytes of any encoding come out as they went in.
        String line = new String(bytes, 0, length, StandardCharsets.ISO_8859_1);
        for (String secret : secrets) {
            String bytesOfSecret = new String(secret.getBytes(StandardCharsets.UTF_8), StandardCharsets.ISO_8859_1);
            line = line.replace(bytesOfSecret, "****");
        }
        out.write(line.getBytes(StandardCharsets.ISO_8859_1));
    }

    /** The console is the build's, and stays open. */
    @Override
    public void close() throws IOException {
        forceEol();
        out.flush();
    }
}
